"""``python -m export fetch``: the published weights → a checkpoint folder."""

import argparse
from pathlib import Path

from rich.console import Console

from ..checkpoint import Checkpoint
from ..checks import check_checkpoint
from ..fetching.fetch import Fetch
from ..fetching.hub import Hub
from ..fetching.published import DEPTH_NETS, FEW_STEPS, FEW_STEPS_PART, PARTS, VAES, Published, published
from . import Commands


def add(commands: Commands) -> None:
    """Add the command to the command line."""
    fetch = commands.add_parser("fetch", help="download the published weights, pinned and verified")
    fetch.add_argument("--output", type=Path, required=True, metavar="DIR", help="the checkpoint folder to make")
    fetch.add_argument("--depth-net", choices=sorted(DEPTH_NETS), default="small", help="ControlNet-Depth (small)")
    fetch.add_argument("--base", metavar="REPO[@REVISION]", help="another SDXL in diffusers' layout")
    fetch.add_argument(
        "--vae",
        choices=VAES,
        help="fp16-fix does not overflow in fp16 and replaces SDXL's by default; base: the base's own, "
        "the default of another --base",
    )
    fetch.add_argument(
        "--few-steps",
        choices=FEW_STEPS,
        help="a LoRA for four (or -8: eight) steps, too; export onnx --few-steps fuses it",
    )
    fetch.add_argument(
        "--full-weights", action="store_true", help="fp32 weights where both are published (twice the size)"
    )
    fetch.add_argument("--only", type=_parts, default=frozenset(PARTS), metavar="PART,…", help=", ".join(PARTS))
    fetch.add_argument("--endpoint", metavar="URL", help="a mirror of the hub (default: HF_ENDPOINT, or the hub)")
    fetch.add_argument("--antelopev2-zip", metavar="URL", help="a mirror of antelopev2.zip, the same file")
    fetch.add_argument("--accept-licences", "--yes", action="store_true", help="don't ask whether you accept them")
    fetch.add_argument("--dry-run", action="store_true", help="show files, sizes, revisions and licences only")
    fetch.set_defaults(run=run)


def _parts(text: str) -> frozenset[str]:
    names, known = frozenset(text.split(",")), (*PARTS, FEW_STEPS_PART)
    if unknown := sorted(names - set(known)):
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; the parts are {', '.join(known)}")
    return names


def _sources(options: argparse.Namespace) -> list[Published]:
    """Return what is asked for: the parts, and a LoRA for few steps where one is named."""
    whole = published(options.base, options.depth_net, options.vae, options.antelopev2_zip)
    few = [FEW_STEPS[options.few_steps]] if options.few_steps else []
    return [*(source for source in whole if source.part in options.only), *few]


def run(options: argparse.Namespace, console: Console) -> int:
    """Fetch what is missing; a second run finds everything up to date."""
    fetch = Fetch(
        checkpoint=options.output,
        sources=_sources(options),
        hub=Hub(options.endpoint),
        console=console,
        full_weights=options.full_weights,
        accepted=options.accept_licences,
    )
    if options.dry_run:
        fetch.dry_run()
        return 0
    try:
        fetch.run()
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again, and it goes on where it stopped")
        return 130
    if options.only >= set(PARTS):
        check_checkpoint(Checkpoint.at(options.output))
    console.print(f"{options.output}: everything is there and verified", highlight=False)
    return 0
