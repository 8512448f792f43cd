"""Optimizer steps and norms of gradients in Triton: the kernels; `triton_table` launches them.

A table on the device says where each parameter, its state and its gradient lie, so that one
launch takes a list of any length and any shapes. Nothing but the rule and the types is compiled
in, and every sum has one order. With TRITON_INTERPRET=1 all of it runs on the CPU.

Arguments that all share:
    table: a row of `COLUMNS` for each tensor, int64.
    gradients: (address, kind) for each tensor, int64; the kind is -1 where there is none.
    pieces: (tensor, start, elements) for each program, int64.
    partial: a sum of squares for each piece, float64; there are `parts`.
    MIXED: not everything is float32. ALIGNED: every address is a multiple of 16.
"""

import triton
import triton.language as tl

from ravine.kernels.variants import HYPER

INTERPRETED = bool(triton.knobs.runtime.interpret)

COLUMNS = (
    "w", "state0", "state1", "k", "mu", "group", "index", "count", "w_kind", "state0_kind",
    "state1_kind",
)  # fmt: skip
# How a step is decided: it is taken; as a flag says; as the norm and the loss say.
MODES = ("always", "flagged", "decides")

W, STATE0, STATE1, K, MU, GROUP, INDEX, COUNT, W_KIND, STATE0_KIND, STATE1_KIND = (
    tl.constexpr(i) for i in range(len(COLUMNS))
)
WIDTH, NUMBERS = tl.constexpr(len(COLUMNS)), tl.constexpr(len(HYPER))
FLAGGED, DECIDES = tl.constexpr(MODES.index("flagged")), tl.constexpr(MODES.index("decides"))


@triton.jit
def _pointer(address, type: tl.constexpr, ALIGNED: tl.constexpr):
    """The address of numbers of a type; where aligned, to 16 bytes."""
    pointer = address.to(tl.pointer_type(type))
    if ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


@triton.jit
def _read_as(
    address, offsets, inside, type: tl.constexpr, ALIGNED: tl.constexpr, FULL: tl.constexpr
):
    if FULL:
        x = tl.load(_pointer(address, type, ALIGNED) + offsets)
    else:
        x = tl.load(_pointer(address, type, ALIGNED) + offsets, mask=inside, other=0.0)
    return x.to(tl.float32)


@triton.jit
def _read(
    address, kind, offsets, inside, MIXED: tl.constexpr, ALIGNED: tl.constexpr, FULL: tl.constexpr
):
    """Elements as float32."""
    if MIXED:
        if kind == 0:
            x = _read_as(address, offsets, inside, tl.float32, ALIGNED, FULL)
        elif kind == 1:
            x = _read_as(address, offsets, inside, tl.float16, ALIGNED, FULL)
        else:
            x = _read_as(address, offsets, inside, tl.bfloat16, ALIGNED, FULL)
    else:
        x = _read_as(address, offsets, inside, tl.float32, ALIGNED, FULL)
    return x


@triton.jit
def _write_as(
    address, offsets, inside, x, type: tl.constexpr, ALIGNED: tl.constexpr, FULL: tl.constexpr
):
    if FULL:
        tl.store(_pointer(address, type, ALIGNED) + offsets, x.to(type))
    else:
        tl.store(_pointer(address, type, ALIGNED) + offsets, x.to(type), mask=inside)


@triton.jit
def _write(
    address,
    kind,
    offsets,
    inside,
    x,
    MIXED: tl.constexpr,
    ALIGNED: tl.constexpr,
    FULL: tl.constexpr,
):
    """Stores float32 elements in their own type: the only rounding to it."""
    if MIXED:
        if kind == 0:
            _write_as(address, offsets, inside, x, tl.float32, ALIGNED, FULL)
        elif kind == 1:
            _write_as(address, offsets, inside, x, tl.float16, ALIGNED, FULL)
        else:
            _write_as(address, offsets, inside, x, tl.bfloat16, ALIGNED, FULL)
    else:
        _write_as(address, offsets, inside, x, tl.float32, ALIGNED, FULL)


@triton.jit
def _finite(x):
    return tl.abs(x) < float("inf")


@triton.jit
def squares(
    gradients, pieces, partial, MIXED: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr
):
    """The sum of squares of each piece, float64: finite numbers cannot make it infinite."""
    piece = tl.program_id(0)
    tensor = tl.load(pieces + 3 * piece)
    start = tl.multiple_of(tl.load(pieces + 3 * piece + 1), BLOCK)
    n = tl.load(pieces + 3 * piece + 2)
    address = tl.load(gradients + 2 * tensor)
    kind = tl.load(gradients + 2 * tensor + 1)
    lanes = tl.arange(0, BLOCK)
    sums = tl.zeros((BLOCK,), dtype=tl.float64)
    if kind >= 0:
        whole = n // BLOCK * BLOCK
        for i in range(0, whole, BLOCK):
            offsets = start + i + lanes
            x = _read(address, kind, offsets, lanes >= 0, MIXED, ALIGNED, True).to(tl.float64)
            sums += x * x
        if whole < n:
            offsets = start + whole + lanes
            x = _read(address, kind, offsets, whole + lanes < n, MIXED, ALIGNED, False)
            sums += x.to(tl.float64) * x.to(tl.float64)
    tl.store(partial + piece, tl.sum(sums, axis=0))


@triton.jit
def _decide(partial, parts, loss, limit, PARTS: tl.constexpr):
    """The global norm, whether it and the loss are finite, and what clips the gradients."""
    lanes = tl.arange(0, PARTS)
    sums = tl.zeros((PARTS,), dtype=tl.float64)
    for i in range(0, parts, PARTS):
        sums += tl.load(partial + i + lanes, mask=i + lanes < parts, other=0.0)
    norm = tl.sqrt(tl.sum(sums, axis=0))
    ok = _finite(norm) & _finite(tl.load(loss).to(tl.float64))
    most = tl.load(limit)
    over = norm > most
    return norm, ok, tl.where(over, most / tl.where(over, norm, 1.0), 1.0)


@triton.jit
def _broken(table, pieces, partial, parts, PARTS: tl.constexpr):
    """The largest index among the tensors whose sum is not finite, or -1."""
    lanes = tl.arange(0, PARTS)
    worst = tl.full((PARTS,), -1, dtype=tl.int64)
    for i in range(0, parts, PARTS):
        inside = i + lanes < parts
        sums = tl.load(partial + i + lanes, mask=inside, other=0.0)
        tensor = tl.load(pieces + 3 * (i + lanes), mask=inside, other=0)
        index = tl.load(table + WIDTH * tensor + INDEX, mask=inside, other=-1)
        worst = tl.where(_finite(sums), worst, tl.maximum(worst, index))
    return tl.max(worst, axis=0)


@triton.jit
def _record(record, counters, norm, ok, bad, scale):
    """Writes down the decision, and counts; done by one program only."""
    tl.store(record, norm)
    tl.store(record + 1, scale)
    tl.store((record + 2).to(tl.pointer_type(tl.int64)), bad)
    tl.store((record + 3).to(tl.pointer_type(tl.int8)), ok.to(tl.int8))
    done = ok.to(tl.int64)
    attempted = tl.load(counters)
    skipped = tl.load(counters + 2)
    first = (skipped == 0) & (done == 0)
    tl.store(counters, attempted + 1)
    tl.store(counters + 1, tl.load(counters + 1) + done)
    tl.store(counters + 2, skipped + 1 - done)
    tl.store(counters + 3, tl.load(counters + 3) + (ok & (scale < 1.0)).to(tl.int64))
    tl.store(counters + 4, (tl.load(counters + 4) + 1) * (1 - done))
    tl.store(counters + 5, tl.where(first, attempted, tl.load(counters + 5)))
    tl.store(counters + 6, tl.where(first, bad, tl.load(counters + 6)))


@triton.jit
def _update(
    w_at, w_kind, g_at, g_kind, at0, kind0, at1, kind1, offsets, inside,
    lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu,
    RULE: tl.constexpr, TWO: tl.constexpr, MIXED: tl.constexpr, ALIGNED: tl.constexpr, FULL: tl.constexpr,
):  # fmt: skip
    """Steps one block, and returns the new product of the momenta."""
    w = _read(w_at, w_kind, offsets, inside, MIXED, ALIGNED, FULL)
    g = _read(g_at, g_kind, offsets, inside, MIXED, ALIGNED, FULL)
    state0 = _read(at0, kind0, offsets, inside, MIXED, ALIGNED, FULL)
    if TWO:
        state1 = _read(at1, kind1, offsets, inside, MIXED, ALIGNED, FULL)
        w, state0, state1, product = RULE(
            lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, state0, state1
        )
        _write(at1, kind1, offsets, inside, state1, MIXED, ALIGNED, FULL)
    else:
        w, state0, product = RULE(
            lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu, w, g, state0
        )
    _write(w_at, w_kind, offsets, inside, w, MIXED, ALIGNED, FULL)
    _write(at0, kind0, offsets, inside, state0, MIXED, ALIGNED, FULL)
    return product


# Not compiled anew for another length of the list, or for scalars that lie elsewhere.
@triton.jit(do_not_specialize=["first", "parts", "flag", "loss", "limit", "record", "counters"])
def step(
    table, gradients, pieces, hyper, tickets, first,
    flag, partial, parts, loss, limit, record, counters,
    RULE: tl.constexpr, TWO: tl.constexpr, PRODUCT: tl.constexpr, MODE: tl.constexpr,
    MIXED: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Steps one piece of a tensor, unless the step is refused."""
    piece = first + tl.program_id(0)
    clip = tl.full((), 1.0, tl.float64)
    ok = piece >= 0
    if MODE == FLAGGED:
        ok = tl.load(flag) != 0
    if MODE == DECIDES:
        norm, ok, clip = _decide(partial, parts, loss, limit, PARTS)
        if piece == 0:
            bad = _broken(table, pieces, partial, parts, PARTS)
            _record(record, counters, norm, ok, bad, clip)
    tensor = tl.load(pieces + 3 * piece)
    g_at = tl.load(gradients + 2 * tensor)
    g_kind = tl.load(gradients + 2 * tensor + 1)
    if ok & (g_kind >= 0):
        start = tl.multiple_of(tl.load(pieces + 3 * piece + 1), BLOCK)
        n = tl.load(pieces + 3 * piece + 2)
        row = table + WIDTH * tensor
        w_at, at0, at1 = tl.load(row + W), tl.load(row + STATE0), tl.load(row + STATE1)
        w_kind = tl.load(row + W_KIND)
        kind0, kind1 = tl.load(row + STATE0_KIND), tl.load(row + STATE1_KIND)
        h = hyper + NUMBERS * tl.load(row + GROUP)
        lr, coupled, decoupled = tl.load(h), tl.load(h + 1), tl.load(h + 2)
        gamma, alpha, eps = tl.load(h + 3), tl.load(h + 4), tl.load(h + 5)
        scale = tl.load(h + 6) * clip
        k_at = tl.load(row + K).to(tl.pointer_type(tl.int64))
        before = tl.load(k_at)
        k = (before + 1).to(tl.float64)
        mu = tl.full((), 1.0, tl.float64)
        mu_at = tl.load(row + MU).to(tl.pointer_type(tl.float64))
        if PRODUCT:
            mu = tl.load(mu_at)
        product = mu
        lanes = tl.arange(0, BLOCK)
        whole = n // BLOCK * BLOCK
        for i in range(0, whole, BLOCK):
            product = _update(
                w_at, w_kind, g_at, g_kind, at0, kind0, at1, kind1, start + i + lanes, lanes >= 0,
                lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu,
                RULE, TWO, MIXED, ALIGNED, True,
            )  # fmt: skip
        if (whole < n) | (n == 0):
            product = _update(
                w_at, w_kind, g_at, g_kind, at0, kind0, at1, kind1, start + whole + lanes, whole + lanes < n,
                lr, coupled, decoupled, gamma, alpha, eps, scale, k, mu,
                RULE, TWO, MIXED, ALIGNED, False,
            )  # fmt: skip
        # k and mu are every piece's to read: whoever is done last may write them. The barrier
        # says that all threads of this program have read, the ticket that all programs have.
        tl.debug_barrier()
        count = tl.load(row + COUNT)
        is_last = count == 1
        if count > 1:
            is_last = tl.atomic_add(tickets + tensor, 1, sem="acq_rel") == count - 1
        if is_last:
            tl.store(tickets + tensor, 0)
            tl.store(k_at, before + 1)
            if PRODUCT:
                tl.store(mu_at, product)
