"""A JSON object a line, on standard error."""

import logging
import logging.config

from pythonjsonlogger.json import JsonFormatter

from insta_depth_gateway.observing import request_id


class _Fields(logging.Filter):
    """Adds the request's id, and drops the message's twin for terminals that uvicorn attaches."""

    def filter(self, record: logging.LogRecord) -> bool:
        if current := request_id.get():
            record.request_id = current
        vars(record).pop("color_message", None)
        return True


def configure(level: str) -> None:
    """Send every logger's lines there, uvicorn's too; its access log is off, for ours has the request's id."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"fields": {"()": _Fields}},
            "formatters": {
                "json": {
                    "()": JsonFormatter,
                    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["fields"]}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {"insta_depth": {"level": level.upper()}, "uvicorn": {"level": level.upper()}},
        }
    )
