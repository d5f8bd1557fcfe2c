import asyncio

import pytest
from denoising.together import together


async def after(seconds: float, result: object, ended: list[object]) -> object:
    await asyncio.sleep(seconds)
    ended.append(result)
    if isinstance(result, Exception):
        raise result
    return result


async def test_results_keep_their_order() -> None:
    assert await together(after(0.02, "a", []), after(0, "b", [])) == ["a", "b"]


@pytest.mark.parametrize("delays", [(0.02, 0.0), (0.0, 0.02)])
async def test_of_several_errors_the_first_part_s_is_raised_whichever_came_first(delays: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="first"):
        await together(after(delays[0], ValueError("first"), []), after(delays[1], KeyError("second"), []))


async def test_nothing_goes_on_after_an_error() -> None:
    ended: list[object] = []
    with pytest.raises(ValueError, match="early"):
        await together(after(0, ValueError("early"), ended), after(0.02, "late", ended))
    assert ended[-1] == "late"


async def test_who_is_cancelled_cancels_the_parts() -> None:
    ended: list[object] = []
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(together(after(0.2, "a", ended), after(0.3, "b", ended)), 0.01)
    await asyncio.sleep(0.3)
    assert ended == []
