"""A folder onto the Hugging Face hub: one commit into a model repository.

Who may write there, the hub's own client knows (`hf auth login`, or HF_TOKEN); Ravine keeps no
token. HF_ENDPOINT names another hub.
"""

from pathlib import Path
from typing import Any

from ravine.core.errors import RunError, SettingError
from ravine.exports.needed_module import needed

_LOG_IN = "log in first: hf auth login, or set HF_TOKEN"


def push_folder(folder: Path, name: str, *, private: bool, message: str) -> str:
    """Uploads a folder, and returns the address of the repository, which is made where needed.

    Args:
        folder: with README.md and the files.
        name: of the repository, `owner/model`, or `model` of the one who is logged in.
        private: whether a new repository is; one that is there stays as it is.
        message: of the commit.

    Raises:
        RunError: nobody is logged in, the hub cannot be reached, or it refuses.
        SettingError: the name cannot be one of the hub's, or huggingface_hub is not installed.
    """
    hub: Any = needed("huggingface_hub", extra="hub", what="push")
    if hub.get_token() is None:
        raise RunError(f"nobody is logged in to the hub; {_LOG_IN}")
    api = hub.HfApi()
    try:
        repository = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository.repo_id, folder_path=folder, commit_message=message)
    except hub.errors.HFValidationError as error:
        raise SettingError(f"the hub has no names like {name!r}: {_line(error)}") from None
    except hub.errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        remedy = f"; {_LOG_IN}, with a token that may write" if status in (401, 403) else ""
        raise RunError(f"the hub refuses {name} ({status}): {_line(error)}{remedy}") from None
    except Exception as error:  # of whatever HTTP client it has
        raise RunError(f"the hub cannot be reached at {api.endpoint}: {_line(error)}") from error
    return str(repository)


def set_license(card: Path, license_name: str) -> None:
    """Writes a license into the metadata of a model card.

    Raises:
        SettingError: huggingface_hub is not installed.
    """
    hub: Any = needed("huggingface_hub", extra="hub", what="push")
    found = hub.ModelCard.load(card)
    found.data.license = license_name
    found.save(card)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
