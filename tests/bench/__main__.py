"""What developers measure: `python -m tests.bench scale`, `cores`, `device` and `stages`, in a clone.

What users compare, `gputok bench`, is in the package.
"""

from __future__ import annotations

import itertools
import json
from typing import Annotated

import typer

from gputok.cli.help import declaration

AsJson = Annotated[bool, declaration("bench", "as_json")]
Device = Annotated[str, declaration("", "device")]
Progress = Annotated[bool | None, declaration("bench", "progress")]
Threads = Annotated[int | None, declaration("bench", "threads")]
VocabSize = Annotated[int, declaration("bench", "vocab_size")]

app = typer.Typer()


@app.command()
def scale(
    size: Annotated[str, typer.Option(help="Of the largest text.", metavar="SIZE")] = "10GB",
    minutes: Annotated[float, typer.Option(help="How long all of it may take.", min=0)] = 10.0,
    memory_limit: Annotated[str, typer.Option(help="Of the runs with a limit.", metavar="SIZE")] = "400MB",
    threads: Threads = None,
    as_json: AsJson = False,
    progress: Progress = None,
) -> None:
    """Simulate corpora of growing size: count, add up shards and train on drawn words, of which new ones never cease.

    Shows time and peak memory, with a memory limit and without one; all counts are compared.
    """
    from tests.bench import scale as sizes

    simulation = sizes.scale(size, memory_limit=memory_limit, minutes=minutes, threads=threads, progress=progress)
    print(simulation.to_json() if as_json else simulation.table())


@app.command()
def cores(
    text: Annotated[str, typer.Argument(help="A file of plain text.")],
    tokenizer: Annotated[str, typer.Option("--tokenizer", "-t", help="A tokenizer.json.")],
    bandwidth: Annotated[float, typer.Option(help="Of the memory of the machine to predict for, GB/s.", min=1)] = 300,
    as_json: AsJson = False,
) -> None:
    """Predict counting and encoding on 16, 64 and 144 threads, and say what ends the growth. Needs `perf`."""
    from tests.bench import cores as works

    found, table = works.cores(text, tokenizer, bandwidth * 1e9)
    print(works.to_json(found, bandwidth * 1e9) if as_json else table)


@app.command()
def device(
    device: Device = "cuda:0",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Estimate how long GPUs take to train on this text file, and measure the same stages on the device, "
            "if there is one.",
            metavar="TEXT",
        ),
    ] = None,
    vocab_size: VocabSize = 32_000,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure what the design of the CUDA kernels depends on: launches, graphs, a cooperative grid, atomics.

    Before that, shows what the machine code takes for a byte of text, which needs no GPU.
    """
    from gputok.backend import choose

    if model is not None:
        from tests.bench import device_model

        try:
            backend = choose(device)
            cards, why_not = backend.devices, backend.reason
        except RuntimeError as error:
            cards, why_not = (), str(error)
        if len(cards) > 1:
            raise ValueError(f"--model measures one GPU: --device cuda:0, not {device}")
        work, on_cpu = device_model.of_file(model, vocab_size, threads)
        of_cards = {card.name: device_model.measured(model, vocab_size, threads, card, device) for card in cards}
        show = device_model.to_json if as_json else device_model.table
        print(show(work, on_cpu, of_cards, why_not))
        return
    from tests.bench import device as probes
    from tests.bench import machine_code

    devices, code = choose(device).devices, machine_code.summary()
    if not as_json:
        print(code)
    found = {card: probes.measure(card) for card in devices}
    if as_json:
        print(probes.to_json(found, code))
    else:
        print(*itertools.starmap(probes.table, found.items()), sep="\n")


@app.command()
def stages(
    text: Annotated[str, typer.Argument(help="A file of plain text.")],
    device: Device = "cuda:0",
    vocab_size: VocabSize = 32_000,
    threads: Threads = None,
    runs: Annotated[int, typer.Option(help="Of each stage.", min=1)] = 3,
    as_json: AsJson = False,
) -> None:
    """Time the stages of training and encoding on a GPU, and each kernel; each result is compared with the CPU's."""
    from gputok.kernels.threads import thread_count

    from gputok.backend import choose
    from tests.bench import stages as timed

    found = timed.of_file(text, vocab_size, thread_count(threads), choose(device).devices[0], runs)
    print(json.dumps([one._asdict() for one in found], indent=2) if as_json else "\n".join(one.line() for one in found))


if __name__ == "__main__":
    app()
