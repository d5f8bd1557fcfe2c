"""The table of published weights: where, at which revision, and under which licence.

A revision is a commit of the repository, so its files cannot change. The weights' hashes are listed too, because a
mirror could send other files for the same revision. Each revision and hash was read in at least
two independent public sources that pin it (lists of pinned models, lock files, logged downloads; November 2026).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

PARTS = ("base", "instantid", "controlnet-depth", "depth", "antelopev2")
FEW_STEPS_PART = "few-steps"
"""The folder of what makes a checkpoint one for few steps; not needed for a whole one."""


@dataclass(frozen=True)
class Licence:
    """A licence: its name, its URL, and a summary of what it allows."""

    name: str
    url: str
    allows: str


@dataclass(frozen=True)
class Published:
    """One source of files. ``folder``: where its root is stored, relative to the checkpoint."""

    part: str
    repo: str
    revision: str | None
    folder: str
    patterns: tuple[str, ...]
    needs: tuple[str, ...]
    licence: Licence
    size_gb: float
    sha256: Mapping[str, str] = field(default_factory=dict)
    archive: str | None = None
    archive_size: int = 0

    def digest(self, path: str) -> str:
        """Return the pinned digest of ``path``, as in `transfer.digests`."""
        return f"sha256:{self.sha256[path]}"


RAIL = Licence(
    "CreativeML Open RAIL++-M",
    "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
    "commercial use too; not for the uses that its Attachment A lists; its terms go along with copies",
)
MIT = Licence("MIT", "https://huggingface.co/madebyollin/sdxl-vae-fp16-fix", "any use, commercial too")
APACHE = Licence(
    "Apache-2.0",
    "https://huggingface.co/depth-anything/Depth-Anything-V2-Small-hf",
    "any use, commercial too (the Small model only)",
)
INSTANTID = Licence(
    "research only",
    "https://github.com/instantX-research/InstantID#disclaimer",
    "NON-COMMERCIAL RESEARCH ONLY: its code is Apache-2.0, its checkpoints and the face models it needs are not",
)
INSIGHTFACE = Licence(
    "InsightFace's, research only",
    "https://github.com/deepinsight/insightface#license",
    "NON-COMMERCIAL RESEARCH ONLY",
)

CC_BY_NC = Licence(
    "CC BY-NC 4.0", "https://huggingface.co/tianweiy/DMD2", "NON-COMMERCIAL USE ONLY, naming its authors"
)

_NETWORKS = ("unet", "text_encoder", "text_encoder_2", "vae")
_SDXL_PATTERNS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/*",
    "tokenizer_2/*",
    *(f"{name}/*" for name in _NETWORKS),
)
_SDXL_NEEDS = (
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer_config.json",
    *(f"{name}/config.json" for name in _NETWORKS),
)

SDXL = Published(
    part="base",
    repo="stabilityai/stable-diffusion-xl-base-1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
    folder="base",
    patterns=_SDXL_PATTERNS,
    needs=_SDXL_NEEDS,
    licence=RAIL,
    size_gb=6.9,
    sha256={
        "unet/diffusion_pytorch_model.fp16.safetensors": (
            "83e012a805b84c7ca28e5646747c90a243c65c8ba4f070e2d7ddc9d74661e139"
        ),
        "text_encoder/model.fp16.safetensors": "660c6f5b1abae9dc498ac2d21e1347d2abdb0cf6c0c0c8576cd796491d9a6cdd",
        "text_encoder_2/model.fp16.safetensors": "ec310df2af79c318e24d20511b601a591ca8cd4f1fce1d8dff822a356bcdb1f4",
        "vae/diffusion_pytorch_model.fp16.safetensors": (
            "bcb60880a46b63dea58e9bc591abe15f8350bde47b405f9c38f4be70c6161e68"
        ),
    },
)
VAE_FP16_FIX = Published(
    part="base",
    repo="madebyollin/sdxl-vae-fp16-fix",
    revision="207b116dae70ace3637169f1ddd2434b91b3a8cd",
    folder="base/vae",
    patterns=("config.json", "diffusion_pytorch_model.safetensors"),
    needs=("config.json", "diffusion_pytorch_model.safetensors"),
    licence=MIT,
    size_gb=0.3,
    sha256={
        "diffusion_pytorch_model.safetensors": "1b909373b28f2137098b0fd9dbc6f97f8410854f31f84ddc9fa04b077b0ace2c",
    },
)
VAES = ("fp16-fix", "base")
STOCK_VAE_GB = 0.2
INSTANT_ID = Published(
    part="instantid",
    repo="InstantX/InstantID",
    revision="57b32dfee076092ad2930c71fd6d439c2c3b1820",
    folder="instantid",
    patterns=("ip-adapter.bin", "ControlNetModel/*"),
    needs=("ip-adapter.bin", "ControlNetModel/config.json"),
    licence=INSTANTID,
    size_gb=4.2,
    sha256={
        "ip-adapter.bin": "02b3618e36d803784166660520098089a81388e61a93ef8002aa79a5b1c546e1",
        "ControlNetModel/diffusion_pytorch_model.safetensors": (
            "c8127be9f174101ebdafee9964d856b49b634435cf6daa396d3f593cf0bbbb05"
        ),
    },
)
DEPTH_NETS = {
    "small": Published(
        part="controlnet-depth",
        repo="diffusers/controlnet-depth-sdxl-1.0-small",
        revision="daf3835d036574dff7c158882e8e77b75b024ee5",
        folder="controlnet-depth",
        patterns=("*",),
        needs=("config.json",),
        licence=RAIL,
        size_gb=0.3,
        sha256={
            "diffusion_pytorch_model.fp16.safetensors": (
                "6f23c58fd632f52238a7b35ebdc02f9f596fd13dbaa121f9b37b9f4689c2b1e9"
            ),
        },
    ),
    "full": Published(
        part="controlnet-depth",
        repo="diffusers/controlnet-depth-sdxl-1.0",
        revision="17bb97973f29801224cd66f192c5ffacf82648b4",
        folder="controlnet-depth",
        patterns=("*",),
        needs=("config.json",),
        licence=RAIL,
        size_gb=2.5,
        sha256={
            "diffusion_pytorch_model.fp16.safetensors": (
                "66a6813e6bd7270ecfe68206a59ddd605a011ae85321188376605c66e0a4f303"
            ),
        },
    ),
}
DEPTH_ANYTHING = Published(
    part="depth",
    repo="depth-anything/Depth-Anything-V2-Small-hf",
    revision="5426e4f0f36572d16453bbda7a8389317b1bef99",
    folder="depth",
    patterns=("*",),
    needs=("config.json", "preprocessor_config.json"),
    licence=APACHE,
    size_gb=0.1,
    sha256={"model.safetensors": "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70"},
)
ANTELOPE = Published(
    part="antelopev2",
    repo="deepinsight/insightface",
    revision="v0.7",
    folder="antelopev2",
    patterns=("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
    needs=("scrfd_10g_bnkps.onnx", "glintr100.onnx"),
    licence=INSIGHTFACE,
    size_gb=0.4,
    sha256={
        "antelopev2.zip": "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5",
        "scrfd_10g_bnkps.onnx": "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        "glintr100.onnx": "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
    },
    archive="https://github.com/deepinsight/insightface/releases/download/v0.7/antelopev2.zip",
    archive_size=360_662_982,
)


def _few_steps(
    kind: str, repo: str, revision: str, file: str, sha256: str, licence: Licence = RAIL, size_gb: float = 0.4
) -> tuple[str, Published]:
    folder = f"{FEW_STEPS_PART}/{kind}"
    part = f"{FEW_STEPS_PART}-{kind}"
    return kind, Published(part, repo, revision, folder, (file,), (file,), licence, size_gb, {file: sha256})


_LIGHTNING = ("ByteDance/SDXL-Lightning", "c9a24f48e1c025556787b0c58dd67a091ece2e44")
_HYPER = ("ByteDance/Hyper-SD", "bc08d970a87c74c71209491d64e3525845698863")
FEW_STEPS = dict(
    (
        _few_steps(
            "lcm",
            "latent-consistency/lcm-lora-sdxl",
            "a18548dd4956b174ec5b0d78d340c8dae0a129cd",
            "pytorch_lora_weights.safetensors",
            "a764e6859b6e04047cd761c08ff0cee96413a8e004c9f07707530cd776b19141",
        ),
        _few_steps(
            "lightning",
            *_LIGHTNING,
            "sdxl_lightning_4step_lora.safetensors",
            "bf56cf2657efb15e465d81402ed481d1e11c4677e4bcce1bc11fe71ad8506b79",
        ),
        _few_steps(
            "lightning-8",
            *_LIGHTNING,
            "sdxl_lightning_8step_lora.safetensors",
            "5aa30d94cdf7950a8b53a693682650ee061eddb128c5435a8f88defea73b2ac6",
        ),
        _few_steps(
            "hyper",
            *_HYPER,
            "Hyper-SDXL-4steps-lora.safetensors",
            "12f81a27d00a751a40d68fd15597091896c5a90f3bd632fb6c475607cbdad76e",
            size_gb=0.8,
        ),
        _few_steps(
            "hyper-8",
            *_HYPER,
            "Hyper-SDXL-8steps-lora.safetensors",
            "ca689190e8c46038550384b5675488526cfe5a40d35f82b27acb75c100f417c1",
            size_gb=0.8,
        ),
        _few_steps(
            "dmd2",
            "tianweiy/DMD2",
            "6743dc8939e91295295a67a0c4b59ca062010dba",
            "dmd2_sdxl_4step_lora_fp16.safetensors",
            "b3d9173815a4b595991c3a7a0e0e63ad821080f314a0b2a3cc31ecd7fcf2cbb8",
            CC_BY_NC,
        ),
    )
)
"""LoRAs of SDXL by the kind that ``--few-steps`` names; `export.few_steps` says how each is used."""


def chosen_base(name: str) -> Published:
    """Return the SDXL base ``REPO[@REVISION]``; without a revision the current one is used and then kept."""
    repo, _, revision = name.partition("@")
    if repo == SDXL.repo:
        return SDXL if revision in ("", SDXL.revision) else replace(SDXL, revision=revision, sha256={})
    url = f"https://huggingface.co/{repo}"
    licence = Licence("not known here", url, "what its card says: read it before use")
    return replace(SDXL, repo=repo, revision=revision or None, licence=licence, sha256={})


def without_vae(base: Published) -> Published:
    """Return ``base`` without its VAE, which comes from another source."""
    return replace(
        base,
        patterns=tuple(pattern for pattern in base.patterns if not pattern.startswith("vae/")),
        needs=tuple(path for path in base.needs if not path.startswith("vae/")),
        size_gb=round(base.size_gb - STOCK_VAE_GB, 1),
    )


def published(base: str | None, depth_net: str, vae: str | None, archive: str | None) -> list[Published]:
    """Return the sources of a whole checkpoint, in the order of `PARTS`.

    ``vae``: one of `VAES`; None: the fp16-safe one with SDXL itself, its own with another base, which may be trained.
    """
    sdxl = chosen_base(base) if base else SDXL
    if vae is None:
        vae = "fp16-fix" if sdxl.repo == SDXL.repo else "base"
    bases = [without_vae(sdxl), VAE_FP16_FIX] if vae == "fp16-fix" else [sdxl]
    antelope = replace(ANTELOPE, archive=archive or ANTELOPE.archive)
    return [*bases, INSTANT_ID, DEPTH_NETS[depth_net], DEPTH_ANYTHING, antelope]
