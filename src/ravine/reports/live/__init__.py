"""The live page: a small server on this machine that reads run folders as they grow.

    run folders -> run_table, run_feed, race_view, surface_view -> views -> app -> the page's script

It reads files only, changes none, and answers this machine alone (`guard`).
"""
