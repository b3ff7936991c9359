"""The root of every error that YASDG raises on purpose, with a text for the person at the terminal.

The command line prints these without a traceback; any other exception is a bug, or one of a library that nobody
expected. All of them, each in the module that raises it:

    YasdgError
        ConfigurationError              a file or a variable of the configuration cannot be used
            SettingsError               the settings
            CatalogError                the catalog of products
            SeparatorError              the separator of the catalog cannot be determined
        BrokerError                     the embedded broker cannot run
            BrokerStateUnknownError     nor can it be determined whether it runs
            PortRaceError               a port that was free was taken before Kafka bound it
        LoginRefusedError               the cluster refuses the login
            _HungUpError                it closed the connection during the login
        TopicsError                     a topic cannot be used as it is
        TopicChangedError               a topic was deleted, cut or divided while the shop ran
        StaleStateError                 what this worker knows of a partition is out of date
            SequenceConflictError       another worker has appended to it
            UnknownOutcomeError         a batch was sent, and no response arrived
        RecordsRejectedError            the broker rejects records for good
        DamagedLogError                 a batch does not match its checksum
        UnreadableError                 bytes are not the message that they were read as
        InvalidMessageError             a message is not one of this shop
        RegistryError                   the schema registry cannot be used
        OpeningError                    the shop cannot be opened or continued with this configuration
            UnknownShopError            there is no such shop in the cluster
            ConfigurationChangedError   it was opened with another configuration
        ShopNotOpenError                this process has not opened the shop yet
        ControlError                    a change to the control topic was not applied
            TooEarlyError               an incident would begin before all workers know of it
            ClockAheadError             this machine's clock is far ahead of the cluster's
            IncidentConflictError       the change conflicts with the incidents that exist
            UnknownIncidentError        no incident of that name was set
        InconsistentLogError            log and table do not belong together
        DatastoreError                  the datastore fails; retrying may help
            DatastoreRefusedError       retrying does not help
            FileReplacedError           its file was removed or replaced
        PortTakenError                  the port of the web server is in use
        InvalidQueryError               a query parameter is invalid
        RequestRejectedError            a request to the web server is rejected
        AuditError                      `yasdg audit` cannot read the shop
        DamagedTopicError               a topic cannot be audited any further
        GenerateError                   `yasdg generate` cannot do what was asked for
        IncidentCommandError            `yasdg incident` cannot
        NoFaultsError                   `yasdg consume` of a topic that only a shop with [FAULTS] has
        PlanError                       `yasdg plan` cannot
        TopicsCommandError              `yasdg topics` cannot
        TruthError                      `yasdg truth` and `yasdg verify` cannot
        FileError                       the output of an engine cannot be read

Exceptions that are no YasdgError, because a library or a caller expects another type:

    TokenError          a KafkaConnectionError: to aiokafka, a missing token is a connection that cannot be made now
    InvalidValueError   a ValueError: one value of the configuration; becomes part of a SettingsError

tests/test_errors.py keeps both lists complete. Imports nothing else of the package.
"""

from collections.abc import Iterable
from traceback import walk_tb

RENAMED = (AttributeError, ImportError, NameError, TypeError)
"""What Python raises if a name is gone or takes other arguments, in our code or a library's.

No handler may mistake that for an absent broker, datastore or registry.
"""


def is_raised_within(error: BaseException, *packages: str) -> bool:
    """Return whether code of one of these packages raised an error, such as one that trips over an odd response."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in packages


class YasdgError(Exception):
    """An expected error. The text says what is wrong, where, and what to do."""


class ConfigurationError(YasdgError):
    """A configuration file or a variable cannot be used.

    `problems` has every problem that was found, one sentence each, beginning with the place. `str()` is one problem a
    line.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)
