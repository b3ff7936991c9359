"""Yet Another Streaming Data Generator: a smoothie shop on Apache Kafka, simulated by a Faust application.

``yasdg_app.app`` is the Faust application, where ``faust -A yasdg_app worker`` looks for it. It is assembled when it is
first asked for: importing this package or any of its modules reads no configuration, and never exits.
"""

import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"


class _Package(ModuleType):
    """The package, with the application as an attribute.

    The module that declares the application has the same name, and Python sets a module as an attribute of its package
    when it is imported. Faust needs the application there, so that setting is ignored.
    """

    @property
    def app(self) -> Any:
        """The Faust application. An invalid configuration ends the program with a message and status 2."""
        from yasdg_app.app import load

        app, _ = load()
        return app

    @app.setter
    def app(self, module: ModuleType) -> None: ...


sys.modules[__name__].__class__ = _Package
