"""The table of a run: one row per video and person, from their quality.json."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from .contracts import REJECTED, atomic_write

_METRICS = {
    "reprojection_px": ("metrics", "repro-/jection/px", "{:.1f}"),
    "bone_spread_percent": ("metrics", "bone/spread/%", "{:.1f}"),
    "root_error_mm": ("truth", "root/error/mm", "{:.0f}"),
    "scale_error_percent": ("truth", "scale/error/%", "{:+.1f}"),
    "pa_mpjpe_mm": ("truth", "PA-/MPJPE/mm", "{:.0f}"),
    "retarget_error_mm": ("metrics", "retarget/error/mm", "{:.0f}"),
    "joint_limit_percent": ("metrics", "over/limit/%", "{:.1f}"),
    "robot_penetration_percent": ("metrics", "pene-/tration/%", "{:.1f}"),
    "robot_slide_cm_s": ("metrics", "foot/slide/cm per s", "{:.1f}"),
}
"""Part of a person's quality that holds the metric, heading by lines, and format."""
_TEXT = ("route", "video", "person", "camera", "verdict", "note")
COLUMNS = ("route", "video", "person", "frames", "people", "camera", *_METRICS, "verdict", "note")


def rows(qualities, refused=()):
    """The table's rows, dicts by column; numbers as they are, None where there is none.

    qualities: route, name of the video and quality.Quality of each; refused: pairs of a video and
    the reason why it was not run.
    """
    found = []
    for route, video, quality in qualities:
        common = {
            "route": route,
            "video": video,
            "frames": quality.video.get("frame_count") or None,
            "people": len(quality.people) or None,
            "camera": quality.camera_model,
        }
        for pid, person in quality.people.items():
            numbers = {
                name: person[part].get(name, {}).get("value")
                for name, (part, _, _) in _METRICS.items()
            }
            note = "; ".join(person["reasons"] or _warnings(person))
            found.append(
                {**common, "person": pid, **numbers, "verdict": person["verdict"], "note": note}
            )
        if not quality.people:
            found.append({**common, "verdict": quality.status, "note": quality.reason})
    found += [{"video": video, "verdict": REJECTED, "note": why} for video, why in refused]
    return [{column: row.get(column) for column in COLUMNS} for row in found]


def text(rows):
    """The table for reading: aligned, columns without any entry left out."""
    several = len({row["route"] for row in rows if row["route"]}) > 1
    columns = [
        column
        for column in COLUMNS
        if (several or column != "route") and any(row[column] not in (None, "") for row in rows)
    ]
    cells = [[_shown(column, row[column]) for column in columns] for row in rows]
    heads = [_heading(column) for column in columns]
    lines = [[head[k] for head in heads] for k in range(3)] + cells
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    rule = ["-" * width for width in widths]
    lines.insert(3, rule)
    aligned = [
        "  ".join(
            cell.ljust(width) if column in _TEXT else cell.rjust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    ]
    accepted = sum(row["verdict"] != REJECTED for row in rows)
    aligned += ["", f"{accepted} of {len(rows)} accepted"]
    return "\n".join(aligned)


def write_tsv(path, rows):
    """Write the rows with all columns to a tab-separated file."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, lambda p: Path(p).write_text(stream.getvalue()))


def _warnings(person):
    bounds = [
        f"{name} {metric['value']:g} (threshold {metric['threshold']:g})"
        for name, metric in person["metrics"].items()
        if metric["verdict"] == "warn"
    ]
    return [f"warning: {', '.join(bounds)}"] if bounds else []


def _shown(column, value):
    if value is None:
        return ""
    if column in _METRICS:
        return _METRICS[column][2].format(value)
    return " ".join(str(value).split())


def _heading(column):
    lines = _METRICS[column][1].split("/") if column in _METRICS else [column]
    return [""] * (3 - len(lines)) + lines
