"""The page's parts and layout: form on the left, result on the right; one column on a phone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from insta_depth import Capabilities

from insta_depth_gateway.page import panels
from insta_depth_gateway.page.form import EXTENSIONS, RANGES, scheduler_choices

_TITLE = "<h1>Insta Depth</h1><p>A new picture of a person, in the pose of another picture.</p>"

AWAY = "away"
"""The class of a hidden column; `visible="hidden"` works for components only."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The inputs: the key, and the fields by their names in the API."""

    key: gr.Textbox
    fields: dict[str, Any]

    def read(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the fields' values by name, from Gradio's by component."""
        return {name: values[component] for name, component in self.fields.items()}


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs."""

    price: gr.HTML
    generate: gr.Button
    cancel: gr.Button
    status: gr.HTML
    preview: gr.HTML
    result: gr.Column
    picture: gr.Image
    facts: gr.HTML
    download: gr.DownloadButton
    again: gr.Button
    gallery: gr.Gallery
    history: gr.State
    last_seed: gr.State
    curl: gr.Code
    python: gr.Code

    def all(self) -> list[Any]:
        """Return every part, as an event's outputs."""
        return [getattr(self, each.name) for each in fields(self)]


def lay_out() -> tuple[Inputs, Outputs]:
    """Place all parts in the `gr.Blocks` that is open."""
    gr.HTML(_TITLE, elem_id="title", padding=False)
    with gr.Row():
        with gr.Column(scale=5, min_width=340):
            inputs = _form()
            buttons = _buttons()
        with gr.Column(scale=6, min_width=340, elem_id="result"):
            result = _result()
    with gr.Accordion("The same request from a program", open=False):
        snippets = _snippets()
    states: dict[str, Any] = dict(history=gr.State([]), last_seed=gr.State(-1))
    return inputs, Outputs(**buttons, **result, **states, **snippets)


def _form() -> Inputs:
    key = gr.Textbox(label="API key", type="password", placeholder="Your key for this server", elem_id="key")
    with gr.Row():
        face = _picture("Face picture", "face_image")
        pose = _picture("Pose picture", "pose_image")
    prompt = gr.Textbox(
        label="Prompt", lines=3, placeholder="Photo of a woman wearing a Superman costume", elem_id="prompt"
    )
    negative = gr.Textbox(
        label="Negative prompt", placeholder="bad anatomy, bad hands, missing fingers", elem_id="negative_prompt"
    )
    form: dict[str, Any] = dict(face_image=face, pose_image=pose, prompt=prompt, negative_prompt=negative)
    form["num_inference_steps"] = _slider("num_inference_steps", "Steps", "More steps cost more.")
    form["guidance_scale"] = _slider("guidance_scale", "Guidance", "How closely to follow the prompt.")
    form["seed"] = gr.Number(
        RANGES["seed"].default, label="Seed", precision=0, info="−1 draws one; up to 999999999999999.", elem_id="seed"
    )
    with gr.Accordion("Advanced", open=False):
        form |= _advanced()
    return Inputs(key, form)


def _advanced() -> dict[str, Any]:
    return {
        "ip_adapter_scale": _slider("ip_adapter_scale", "Likeness", "Weight of the face's features."),
        "identitynet_scale": _slider("identitynet_scale", "Face landmarks", "Weight of eyes, nose and mouth's places."),
        "depth_scale": _slider("depth_scale", "Depth", "Weight of the pose picture's depth."),
        "scheduler": gr.Dropdown(
            scheduler_choices(Capabilities()), value=EXTENSIONS["scheduler"], label="Scheduler", elem_id="scheduler"
        ),
        "enhance_face_region": gr.Checkbox(
            EXTENSIONS["enhance_face_region"], label="Keep the face's influence inside the face"
        ),
        "pose_without_face": gr.Checkbox(
            EXTENSIONS["pose_without_face"], label="Go on where the pose picture shows no face"
        ),
        "max_side": gr.Number(
            EXTENSIONS["max_side"],
            label="Longer side",
            precision=0,
            minimum=0,  # Gradio's value for an empty field
            step=64,
            info="Pixels, a multiple of 64; 0 is the server's largest.",
            elem_id="max_side",
        ),
    }


def _slider(name: str, label: str, info: str) -> gr.Slider:
    limits = RANGES[name]
    return gr.Slider(
        limits.minimum, limits.maximum, limits.default, step=limits.step, label=label, info=info, elem_id=name
    )


def _picture(label: str, name: str) -> gr.Image:
    """Return an upload whose file reaches the server unchanged.

    `gr.Image` would open it and sometimes re-encode it; the server rejects files that are no pictures.
    """
    picture = gr.Image(
        label=label, type="filepath", image_mode=None, sources=["upload"], height=240, min_width=200, elem_id=name
    )
    picture.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
    return picture


def _buttons() -> dict[str, Any]:
    price = gr.HTML(elem_id="price", padding=False)
    with gr.Row():
        generate = gr.Button("Generate", variant="primary", size="lg", scale=3, min_width=120, elem_id="generate")
        cancel = gr.Button("Cancel", size="lg", scale=1, min_width=100, interactive=False, elem_id="cancel")
    return dict(price=price, generate=generate, cancel=cancel, status=gr.HTML(elem_id="status", padding=False))


def _result() -> dict[str, Any]:
    preview = gr.HTML(panels.EMPTY, elem_id="preview", padding=False)
    with gr.Column(elem_classes=[AWAY]) as result:
        picture = gr.Image(
            label="Picture", type="filepath", interactive=False, buttons=["fullscreen"], elem_id="picture"
        )
        facts = gr.HTML(elem_id="facts", padding=False)
        with gr.Row():
            download = gr.DownloadButton("Download", size="lg", scale=1, min_width=110, elem_id="download")
            again = gr.Button("Use this seed again", size="lg", scale=2, min_width=180, elem_id="again")
    gallery = gr.Gallery(
        label="Pictures of this session",
        columns=4,
        fit_columns=False,
        height="auto",
        visible="hidden",
        elem_id="gallery",
        object_fit="cover",
        buttons=["download", "fullscreen"],
        interactive=False,
    )
    return dict(
        preview=preview, result=result, picture=picture, facts=facts, download=download, again=again, gallery=gallery
    )


def _snippets() -> dict[str, Any]:
    with gr.Tab("curl"):
        curl = gr.Code(
            language="shell",
            interactive=False,
            show_label=False,
            wrap_lines=True,
            show_line_numbers=False,
            elem_id="curl",
        )
    with gr.Tab("Python"):
        python = gr.Code(
            language="python",
            interactive=False,
            show_label=False,
            wrap_lines=True,
            show_line_numbers=False,
            elem_id="python",
        )
    return dict(curl=curl, python=python)
