"""`flowsearch prior`: the pre-trained flows that studies share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowsearch.cli.errors import user_errors
from flowsearch.cli.options import Device, local, trial_text
from flowsearch.cli.usage import Settable

if TYPE_CHECKING:
    from flowsearch.training.prior_store import PriorStore

app = typer.Typer(help="Pre-train flows as priors, list them, and look at what they know.", no_args_is_help=True)

_Results = Annotated[str, typer.Option(help="Folder that holds the results of all studies; priors lie in it.")]


@app.command(cls=Settable)
def train(
    file: Annotated[
        Path | None,
        typer.Argument(help="YAML file of a trial's names. Default: the paper's flow.", show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a name, e.g. depth=8, data.size=32 or prior.epochs=20."),
    ] = None,
    results: _Results = "results",
    device: Device = "auto",
) -> None:
    """Pre-train one prior, for all studies in the results' folder that need it; goes on where it was interrupted."""
    from flowsearch.parts import beside

    with user_errors(), beside(Path.cwd() if file is None else file.parent):
        from flowsearch.analysis.wording import plural
        from flowsearch.data import load
        from flowsearch.study.source import Source
        from flowsearch.training import TrialConfig
        from flowsearch.training.prior import run_prior
        from flowsearch.training.prior_store import prior_key

        store = _store(results)
        source = Source(file or "command line", trial_text(file), sets or [])
        config = TrialConfig.from_dict({"pretrain": True} | source.values)
        if not config.pretrain:
            raise ValueError(
                f"only a flow is pre-trained: prox: glow or score with pretrain: true, not prox {config.prox}"
            )
        typer.echo(
            f"levels {config.levels}, depth {config.depth}, hidden {config.hidden}, on {config.data.source} at "
            f"{config.data.size}x{config.data.size}: up to {plural(config.prior.epochs, 'epoch')}"
        )
        key = prior_key(config, load(config.data).fingerprint)
        try:
            lock = store.hold(key)
            if lock is None:
                typer.echo("another process is pre-training it; waiting", err=True)
            else:
                lock.close()
            with store.held(key):
                folder = store.folder(key)
                for record in run_prior(config, checkpoint_dir=folder, prior_dir=store.root, device=device):
                    if record["phase"] == "prior":
                        bits = f"{record['bits_per_dim']:.3f} bits/dim"
                        typer.echo(f"prior {record['epoch']:4d}   {bits}   {record['seconds']:.1f} s")
        except KeyboardInterrupt:
            typer.echo("interrupted; the same command goes on from the last epoch", err=True)
            raise typer.Exit(130) from None
        typer.echo(
            f"prior {key}: {record['bits_per_dim']:.3f} bits/dim after {plural(record['epoch'], 'epoch')}, in {folder}"
        )


@app.command("list")
def list_priors(results: _Results = "results") -> None:
    """The priors there are: what they are, how far, and which studies use them."""
    with user_errors():
        from flowsearch.analysis.wording import plural
        from flowsearch.cli.terminal import table, terminal
        from flowsearch.results.forms import duration, memory

        console, store = terminal(), _store(results)
        priors = store.listed()
        if not priors:
            console.print(f"no priors in {store.root}")
            return
        heads = ("prior", "flow", "images", "epochs", "bits/dim", "time", "size", "used by")
        made = table(heads, right=heads[3:7], wrapped=("flow", "images", "used by"))
        whole = [prior for prior in priors if prior.damaged is None]
        for prior in whole:
            about, config = prior.about, prior.about.get("config", {})
            data = config.get("data", {})
            users = ", ".join(
                f"{name} ({plural(len(trials), 'trial')})" for name, trials in sorted(prior.users.items())
            )
            made.add_row(
                prior.key,
                f"levels {config.get('levels')}, depth {config.get('depth')}, hidden {config.get('hidden')}",
                f"{data.get('source')} {data.get('size')}x{data.get('size')}, {data.get('train')}",
                f"{about.get('epoch')}/{config.get('prior', {}).get('epochs')}",
                f"{about.get('bits_per_dim', float('nan')):.3f}",
                duration(about.get("seconds", 0.0)),
                memory(prior.bytes),
                users or "nobody yet",
            )
        if whole:
            console.print(made)
        for prior in priors:
            if prior.damaged is not None:
                path = store.folder(prior.key) / prior.damaged
                console.print(
                    f"{path} is damaged; the prior is pre-trained again when it is needed",
                    soft_wrap=True,
                )


@app.command()
def sample(
    prior: Annotated[str, typer.Argument(help="A prior's name, or its beginning, as `prior list` gives it.")],
    results: _Results = "results",
    count: Annotated[int, typer.Option(min=1, help="How many samples.")] = 23,
    temperature: Annotated[float, typer.Option(min=0, help="Spread of the latents; 1 is the prior's own.")] = 0.7,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    out: Annotated[
        Path | None, typer.Option(parser=local, metavar="PATH", help="Where the picture goes. Default: prior-NAME.png.")
    ] = None,
) -> None:
    """Write a picture of the most likely image, the mode g(0), and samples after it."""
    with user_errors():
        from flowsearch.analysis.wording import plural
        from flowsearch.data import write_sheet
        from flowsearch.training.prior import sample as draw

        store = _store(results)
        key = store.find(prior)
        images, about = draw(store.file(key), count, temperature, seed)
        path = out or Path(f"prior-{key}.png")
        write_sheet(path, images)
        epochs, bits = about["config"]["prior"]["epochs"], about.get("bits_per_dim", float("nan"))
        typer.echo(f"prior {key}: {bits:.3f} bits/dim after {about['epoch']} of {plural(epochs, 'epoch')}")
        typer.echo(f"mode, then {count} samples at temperature {temperature:g}: {path}")


def _store(results: str) -> "PriorStore":
    """The priors in the results' folder."""
    from flowsearch.storage import on_disk
    from flowsearch.training.prior_store import FOLDER, PriorStore

    return PriorStore(
        on_disk(results, "name a folder by --results; studies in an object store keep their own") / FOLDER
    )
