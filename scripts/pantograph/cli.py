"""What every script in `scripts/` shares: arguments, rejection, one-line errors."""

from __future__ import annotations

import argparse
import os
import sys
import traceback

from .errors import PantographError, Rejected


def parser(doc):
    """An ArgumentParser that shows the script's docstring as its description."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def stage(product, out, method, inputs, compute, parameters=None):
    """Run one stage: `compute(*inputs)` gives a `product`, which is written to `out`.

    inputs: products read already, the one nearest to the video first. If one of them is
    rejected, or compute raises Rejected, a rejected product with the reason is written instead.
    People dropped by earlier stages and the video's hash are carried on.
    """
    meta = {
        "method": method,
        "parameters": parameters or {},
        "source_sha256": next((p.source_sha256 for p in inputs if p.source_sha256), ""),
    }
    dropped = {}
    for item in inputs:
        dropped.update(item.dropped)
    refused = next((p for p in inputs if p.rejected), None)
    if refused is not None:
        result = product.rejection(refused.reason, dropped=dropped, **meta)
    else:
        try:
            result = compute(*inputs)
            for key, value in meta.items():
                setattr(result, key, value)
            result.dropped = {**dropped, **result.dropped}
        except Rejected as reason:
            result = product.rejection(reason, dropped=dropped, **meta)
    if result.rejected:
        print(f"rejected: {result.reason}", file=sys.stderr)
    result.write(out)
    return result


def run(main, argv=None):
    """Call main(argv); turn a PantographError into one line and exit code 1.

    With PANTOGRAPH_DEBUG set, the traceback is shown too.
    """
    try:
        code = main(argv)
    except PantographError as error:
        if os.environ.get("PANTOGRAPH_DEBUG"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        code = 1
    sys.exit(code or 0)
