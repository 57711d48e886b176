"""`flowsearch evaluate`: how good a trained network is on a data set."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flowsearch.cli.errors import told_warnings, user_errors
from flowsearch.cli.options import Device, local

_HEADS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "measurement_psnr": "PSNR of the measurement (dB)"}


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A trial's checkpoints, a best.safetensors, or a study's results: its best trial.", show_default=False
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help="faces, anime, a prepared set, or module:name. Default: the trial's own.", show_default=False
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="test, val or ood.")] = "test",
    task: Annotated[
        str | None, typer.Option(help="Another task, e.g. denoise-0.2. Default: the trial's own.", show_default=False)
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="Number of images. Default: as in the trial.", show_default=False, min=1)
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            parser=local,
            metavar="PATH",
            help="Write the numbers, image by image, as JSON.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Evaluate a trained network on images of a data set; print PSNR and SSIM with their spread."""
    with user_errors():
        from flowsearch.cli.model import find_model, parts_folder, say_code
        from flowsearch.parts import beside

        with told_warnings():
            file = find_model(model)
        with beside(parts_folder(file)):
            say_code(file, images=source is None)
            from flowsearch.training.judge import judge
            from flowsearch.training.saved import load_saved

            saved = load_saved(file, device)
            judged = judge(saved if task is None else saved.with_task(task), split, source=source, count=count)
        _print(judged)
        if json_file is not None:
            import json

            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(judged, indent=2) + "\n", encoding="utf-8")


def _print(judged: dict[str, Any]) -> None:
    from flowsearch.analysis.wording import plural
    from flowsearch.cli.terminal import table, terminal
    from flowsearch.results.forms import decibels, similarity

    heads = ("", "mean", "standard deviation", "worst", "best")
    made = table(heads, right=heads[1:])
    for name, head in _HEADS.items():
        found = judged[name] or {}
        write = similarity if name == "ssim" else decibels
        known = (found.get(key) for key in ("mean", "std", "min", "max"))
        made.add_row(head, *("unknown" if value is None else write(value) for value in known))
    console = terminal()
    console.print(
        f"{judged['model']}: {judged['prox']} on {plural(judged['images'], 'image')} of {judged['source']} "
        f"({judged['split']}), task {judged['task']}",
        soft_wrap=True,
    )
    console.print(made)
    if judged["left_out"]:
        console.print(
            f"{judged['left_out']} more of its images are left out: the network or its prior was trained on them",
            soft_wrap=True,
        )
    if judged["non_finite"]:
        console.print(
            f"{judged['non_finite']} of {judged['images']} reconstructions are not finite; what is said of all of them "
            "is unknown",
            soft_wrap=True,
        )
