"""The server's error codes and the client's are one list, kept in two places that are installed apart."""

from insta_depth import InstaDepthError
from insta_depth._errors import ERRORS_BY_CODE, from_text

from insta_depth_shared import errors as server

ONLY_THE_CLIENT = {"DEADLINE_EXCEEDED", "SERVER_UNAVAILABLE"}


def all_errors(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def test_the_client_knows_every_code_of_the_server_and_no_other_but_its_own() -> None:
    codes = {error.code for error in all_errors(server.InstaDepthError)}  # type: ignore[attr-defined]
    assert set(ERRORS_BY_CODE) == codes | ONLY_THE_CLIENT


def test_every_error_of_the_client_has_a_code_of_its_own() -> None:
    assert sorted(ERRORS_BY_CODE.values(), key=repr) == sorted(all_errors(InstaDepthError), key=repr)


def test_an_error_of_the_server_arrives_as_the_class_of_the_same_name_and_parents() -> None:
    for error in all_errors(server.InstaDepthError):
        arrived = from_text(str(error("field: is wrong")))
        assert lineage(type(arrived)) == lineage(error)
        assert arrived.message == "field: is wrong"


def lineage(error: type[Exception]) -> list[str]:
    return [parent.__name__ for parent in error.__mro__]
