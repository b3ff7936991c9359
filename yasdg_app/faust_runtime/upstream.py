"""Private names of aiokafka, Faust, mode and aiohttp that this package relies on; the module contains only data.

No library guarantees these names, so an upgrade may rename them. Some uses would then fail with an exception; others
would override or set a name without effect, and the worker would silently behave differently. test_upstream.py
compares the list with the installed libraries. Keep the list in step with the names that are used.
"""

from typing import Literal, NamedTuple

Kind = Literal["class", "callable", "attribute"]


class Name(NamedTuple):
    """A name that this package relies on.

    `owner`: the module of the library, or the class in it as `module:Class`; empty `parameters` of a callable: none but
    self; `read_by`: what in the library must use the name, as `module:Class.method`, if it is overridden or set here;
    `breaks`: what fails here if the name is gone.
    """

    owner: str
    name: str
    kind: Kind
    relied_on_by: str
    breaks: str
    parameters: tuple[str, ...] = ()
    read_by: str = ""


_FETCHER = "aiokafka.consumer.fetcher"
_GROUP = "aiokafka.consumer.group_coordinator:GroupCoordinator"
_KAFKA_CONSUMER = "aiokafka.consumer.consumer:AIOKafkaConsumer"
_CONN = "aiokafka.conn"
_DRIVER = "faust.transport.drivers.aiokafka"
_CONSUMER = "faust.transport.consumer:Consumer"
_RECOVERY = "faust.tables.recovery:Recovery"
_APP = "faust.app.base:App"
_WORKER = "mode.worker:Worker"
_WEB = "faust.web.drivers.aiohttp:Web"
_HANDLER = "aiohttp.web_protocol:RequestHandler"

_TRANSPORT = "faust_runtime/transport.py"
_TABLE = "faust_runtime/table.py"
_SHOP_APP = "faust_runtime/shop_app.py"
_SHOP_WORKER = "faust_runtime/worker.py"
_BATCHES = "kafka/batch_reader.py, kafka/reader.py"
_ASSIGNMENT = "faust_runtime/partition_assignment.py"
_SERVER = "web/driver.py"
_CONNECTIONS = "web/connections.py"
_RUNNER = "web/runner.py"
_REFUSALS = "kafka/auth/diagnostics.py"

_NOT_WHOLE = "messages come one by one to code that expects chunks"
_NO_LEASE = "the lease cannot be confirmed, and nothing is sold"
_REJOINS = "a commit during a rebalance makes the worker leave its group and join again without end"
_FAUST_COMMITS = "Faust commits offsets inside of chunks, in competition with the lease"
_NOT_STARTED = "the consumer cannot be reached"
_NO_FETCH = "messages are not handed over"
_FAUST_RECOVERS = "Faust reads the changelog as well, and waits for partitions without a leader"
_NO_SIGNIN = "why a login was refused cannot be found out"
_HANGS = "a worker that was told to stop may hang"
_NO_LIMITS = "connections are not limited in time and number"

NAMES = (
    # --- aiokafka: fetching
    Name(_FETCHER, "MemoryRecords", "class", "kafka/batch_reader.py",
         "batches of other producers are unpacked whole, however large, and refused ones end the worker",
         read_by=f"{_FETCHER}:Fetcher._proc_fetch_request"),
    Name(f"{_FETCHER}:Fetcher", "_proc_fetch_request", "callable", _TRANSPORT, _NOT_WHOLE,
         ("assignment", "node_id", "request"), read_by=f"{_FETCHER}:Fetcher._fetch_requests_routine"),
    Name(f"{_FETCHER}:Fetcher", "_records", "attribute", _TRANSPORT, _NOT_WHOLE,
         read_by=f"{_FETCHER}:Fetcher.fetched_records"),
    Name(f"{_FETCHER}:FetchResult", "_partition_records", "attribute", _TRANSPORT, _NOT_WHOLE,
         read_by=f"{_FETCHER}:FetchResult.getall"),
    Name(f"{_FETCHER}:PartitionRecords", "__init__", "callable", _TRANSPORT, _NOT_WHOLE,
         ("tp", "records", "aborted_transactions", "fetch_offset", "key_deserializer", "value_deserializer",
          "check_crcs", "isolation_level")),
    Name(f"{_FETCHER}:PartitionRecords", "_unpack_records", "callable", _TRANSPORT, _NOT_WHOLE,
         read_by=f"{_FETCHER}:PartitionRecords.__init__"),
    Name(f"{_FETCHER}:PartitionRecords", "_tp", "attribute", _TRANSPORT, _NOT_WHOLE),
    Name(f"{_FETCHER}:PartitionRecords", "_records", "attribute", _TRANSPORT, _NOT_WHOLE),
    Name(f"{_FETCHER}:PartitionRecords", "_isolation_level", "attribute", _TRANSPORT, _NOT_WHOLE),
    Name(f"{_FETCHER}:PartitionRecords", "next_fetch_offset", "attribute", _TRANSPORT, _NOT_WHOLE,
         read_by=f"{_FETCHER}:FetchResult._update_position"),
    Name(_KAFKA_CONSUMER, "_fetcher", "attribute", _TRANSPORT, _NOT_WHOLE),
    Name(_KAFKA_CONSUMER, "_fetch_max_wait_ms", "attribute", _TRANSPORT,
         "a fetch that finds nothing new holds up other requests for 1.5 s instead of 0.1 s",
         read_by=f"{_KAFKA_CONSUMER}.start"),
    # --- aiokafka: the group
    Name(_KAFKA_CONSUMER, "_coordinator", "attribute", _TRANSPORT, _REJOINS, read_by=f"{_KAFKA_CONSUMER}.commit"),
    Name(_KAFKA_CONSUMER, "_subscription", "attribute", _TRANSPORT, _REJOINS, read_by=f"{_KAFKA_CONSUMER}.commit"),
    Name(_KAFKA_CONSUMER, "commit", "callable", _TRANSPORT, _NO_LEASE, ("offsets",)),
    Name(_GROUP, "_do_commit_offsets", "callable", _TRANSPORT, _REJOINS, ("assignment", "offsets"),
         read_by=f"{_GROUP}.commit_offsets"),
    Name(_GROUP, "_rejoin_needed_fut", "attribute", _TRANSPORT, _REJOINS, read_by=f"{_GROUP}.request_rejoin"),
    Name(_GROUP, "group_id", "attribute", _TRANSPORT, _REJOINS),
    Name("aiokafka.consumer.subscription_state:SubscriptionState", "reassignment_in_progress", "attribute", _TRANSPORT,
         _REJOINS),
    # --- aiokafka: clients, protocol, record batches
    Name("aiokafka.client:AIOKafkaClient", "_wait_on_metadata", "callable", "kafka/client.py",
         "the leader of a partition cannot be found", ("topic",)),
    Name("aiokafka.admin.client:AIOKafkaAdminClient", "_send_request", "callable", "cli/topics.py",
         "`yasdg topics delete` cannot delete the consumer group", ("request", "node_id")),
    Name("aiokafka.protocol.produce:ProduceRequest", "__init__", "callable", "kafka/producer.py", "nothing is appended",
         ("transactional_id", "required_acks", "timeout", "topics")),
    Name("aiokafka.protocol.fetch:FetchRequest", "__init__", "callable", "kafka/reader.py", "no log can be read",
         ("max_wait_time", "min_bytes", "max_bytes", "isolation_level", "topics", "rack_id")),
    Name("aiokafka.protocol.offset:OffsetRequest", "__init__", "callable", "kafka/reader.py",
         "where a log begins and ends cannot be found", ("replica_id", "isolation_level", "topics")),
    Name("aiokafka.protocol.transaction:InitProducerIdRequest", "__init__", "callable", "kafka/producer.py",
         "a shop cannot get its producer id", ("transactional_id", "transaction_timeout_ms")),
    Name("aiokafka.protocol.admin:DeleteGroupsRequest", "__init__", "callable", "cli/topics.py",
         "`yasdg topics delete` cannot delete the consumer group", ("group_names",)),
    Name("aiokafka.protocol.metadata:MetadataRequest", "__init__", "callable", "kafka/topics.py",
         "topics that exist and are not visible to us cannot be told from missing ones",
         ("topics", "allow_auto_topic_creation")),
    Name("aiokafka.record.default_records:DefaultRecordBatchBuilder", "append", "callable", "kafka/producer.py",
         "no record batch can be built", ("offset", "timestamp", "key", "value", "headers")),
    *(
        Name("aiokafka.record.default_records:DefaultRecordBatch", name, "attribute", _BATCHES,
             "positions and sequence numbers cannot be read from a log")
        for name in ("attributes", "base_offset", "base_sequence", "is_control_batch", "last_offset_delta",
                     "max_timestamp", "next_offset", "producer_id", "validate_crc")
    ),
    Name("aiokafka.record.util", "calc_crc32c", "callable", "kafka/batch_writer.py", "no record batch can be built",
         ("data",)),
    Name("aiokafka.partitioner", "murmur2", "callable", "messages/ids.py",
         "the partition of a product cannot be computed", ("data",)),
    # --- aiokafka: authentication by hand
    Name(_CONN, "collect_hosts", "callable", _REFUSALS, _NO_SIGNIN, ("hosts", "randomize")),
    Name(f"{_CONN}:AIOKafkaConnection", "connect", "callable", _REFUSALS, _NO_SIGNIN),
    Name(f"{_CONN}:AIOKafkaConnection", "send", "callable", _REFUSALS, _NO_SIGNIN, ("request", "expect_response")),
    Name(f"{_CONN}:AIOKafkaConnection", "authenticator_plain", "callable", _REFUSALS, _NO_SIGNIN),
    Name(f"{_CONN}:AIOKafkaConnection", "authenticator_scram", "callable", _REFUSALS, _NO_SIGNIN),
    Name(f"{_CONN}:AIOKafkaConnection", "authenticator_oauth", "callable", _REFUSALS, _NO_SIGNIN),
    Name(f"{_CONN}:BaseSaslAuthenticator", "step", "callable", _REFUSALS, _NO_SIGNIN, ("payload",)),
    Name("aiokafka.protocol.admin:SaslHandShakeRequest", "__init__", "callable", _REFUSALS, _NO_SIGNIN,
         ("mechanism",)),
    Name("aiokafka.protocol.admin:SaslAuthenticateRequest", "__init__", "callable", _REFUSALS, _NO_SIGNIN,
         ("payload",)),
    # --- Faust: the consumer and its thread
    Name(f"{_DRIVER}:AIOKafkaConsumerThread", "_ensure_consumer", "callable", _TRANSPORT, _NOT_STARTED),
    Name(f"{_DRIVER}:AIOKafkaConsumerThread", "_create_worker_consumer", "callable", _TRANSPORT,
         "aiokafka's consumer keeps Faust's long waits", ("transport",),
         read_by=f"{_DRIVER}:AIOKafkaConsumerThread._create_consumer"),
    Name(f"{_DRIVER}:AIOKafkaConsumerThread", "call_thread", "callable", _TRANSPORT, _NO_LEASE,
         ("fun", "*args", "**kwargs")),
    Name(f"{_DRIVER}:ConsumerRebalanceListener", "_thread", "attribute", _TRANSPORT,
         "changelogs are fetched that nobody reads"),
    Name(f"{_DRIVER}:Consumer", "RebalanceListener", "class", _TRANSPORT, "changelogs are fetched that nobody reads",
         read_by=f"{_DRIVER}:AIOKafkaConsumerThread"),
    Name("faust.transport.consumer:ThreadDelegateConsumer", "_new_consumer_thread", "callable", _TRANSPORT, _NOT_WHOLE,
         read_by="faust.transport.consumer:ThreadDelegateConsumer.__init__"),
    Name("faust.transport.consumer:ThreadDelegateConsumer", "_thread", "attribute", _TRANSPORT, _NOT_STARTED),
    Name(_CONSUMER, "_wait_next_records", "callable", _TRANSPORT, _NO_FETCH, ("timeout",)),
    Name(_CONSUMER, "_to_message", "callable", _TRANSPORT, _NO_FETCH, ("tp", "record")),
    Name(_CONSUMER, "getmany", "callable", _TRANSPORT, _NOT_WHOLE, ("timeout",),
         read_by=f"{_CONSUMER}._drain_messages"),
    Name(_CONSUMER, "perform_seek", "callable", _TRANSPORT, _NO_FETCH),
    Name(_CONSUMER, "scheduler", "attribute", _TRANSPORT, _NO_FETCH),
    Name(_CONSUMER, "flow_active", "attribute", _TRANSPORT, _NO_FETCH),
    Name(_CONSUMER, "_buffered_partitions", "attribute", _TRANSPORT, _NO_FETCH),
    Name(_CONSUMER, "_read_offset", "attribute", _TRANSPORT, "Faust drops what is fetched a second time",
         read_by=f"{_CONSUMER}._drain_messages"),
    Name(_CONSUMER, "_add_gap", "callable", _TRANSPORT, _FAUST_COMMITS, ("tp", "offset_from", "offset_to"),
         read_by=f"{_CONSUMER}._drain_messages"),
    Name(_CONSUMER, "_new_offset", "callable", _TRANSPORT, _FAUST_COMMITS, ("tp",), read_by=_CONSUMER),
    Name(_CONSUMER, "_acked", "attribute", _TRANSPORT, _FAUST_COMMITS, read_by=f"{_CONSUMER}._new_offset"),
    Name(_CONSUMER, "_acked_index", "attribute", _TRANSPORT, _FAUST_COMMITS, read_by=f"{_CONSUMER}._new_offset"),
    Name(_CONSUMER, "verify_all_partitions_active", "callable", _TRANSPORT,
         "Faust warns of changelogs that lie still, which they are meant to", read_by=_CONSUMER),
    Name(_CONSUMER, "seek_to_committed", "callable", _TRANSPORT,
         "partitions are read from the committed offset and not from the table's",
         read_by=f"{_CONSUMER}.perform_seek"),
    Name(_CONSUMER, "on_partitions_assigned", "callable", _TRANSPORT, "a recovery does not know its generation",
         ("assigned", "generation_id")),
    Name(f"{_DRIVER}:Transport", "_create_topic", "callable", _TRANSPORT,
         "a worker waits for an absent cluster to create topics that exist",
         ("owner", "client", "topic", "partitions", "replication", "**kwargs"),
         read_by=_DRIVER),
    Name("faust.types.tuples", "ConsumerMessage", "callable", _TRANSPORT, _NO_FETCH,
         ("topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum",
          "serialized_key_size", "serialized_value_size", "tp", "time_in", "time_out", "time_total", "generation_id")),
    # --- Faust: the table
    *(
        Name(_RECOVERY, name, "callable", _TABLE, _FAUST_RECOVERS, parameters, read_by=_RECOVERY)
        for name, parameters in (
            ("need_recovery", ()),
            ("_build_highwaters", ("consumer", "tps", "destination", "title")),
            ("_build_offsets", ("consumer", "tps", "destination", "title")),
            ("_seek_offsets", ("consumer", "tps", "offsets", "title")),
        )
    ),
    Name(_RECOVERY, "actives_for_table", "attribute", _TABLE,
         "the worker does not know which partitions to restore"),
    Name("faust.tables.manager:TableManager", "_recovery", "attribute", _TABLE, _FAUST_RECOVERS,
         read_by="faust.tables.manager:TableManager.recovery"),
    Name("faust.tables.manager:TableManager", "recovery", "attribute", _TABLE, _FAUST_RECOVERS,
         read_by="faust.tables.manager:TableManager"),
    Name("faust.tables.manager:TableManager", "changelog_topics", "attribute", _TRANSPORT,
         "changelogs are fetched that nobody reads"),
    Name("faust.tables.base:Collection", "data", "attribute", _TABLE, "the table shows no rows"),
    Name("mode.utils.collections:FastUserDict", "data", "attribute", _TABLE, "the table shows no rows",
         read_by="mode.utils.collections:FastUserDict.__getitem__"),
    # --- Faust and mode: app and worker
    Name(_APP, "_init_fixups", "callable", _SHOP_APP, "a variable of Django changes how the worker starts",
         read_by=f"{_APP}.__init__"),
    Name(_APP, "consumer_generation_id", "attribute", "faust_runtime/partition_assignment.py",
         "a worker does not notice that its partitions were assigned anew", read_by=_DRIVER),
    Name(_APP, "rebalancing", "attribute", _ASSIGNMENT, "a worker goes on selling during a rebalance",
         read_by=f"{_APP}.on_rebalance_start"),
    Name(_APP, "rebalancing_count", "attribute", "web/metrics.py", "/metrics fails"),
    Name("faust.app.router:Router", "tables_metadata", "callable", "web/worker_directory.py",
         "workers do not find each other"),
    Name("mode.services:Service", "_crash", "callable", _SHOP_APP, "a worker that crashed may not end", ("reason",),
         read_by="mode.services:Service.crash"),
    Name(_WORKER, "_schedule_shutdown", "callable", _SHOP_WORKER, _HANGS, ("signal",), read_by=_WORKER),
    Name(_WORKER, "_stop_on_signal", "callable", _SHOP_WORKER, _HANGS, ("signal",),
         read_by=f"{_WORKER}._schedule_shutdown"),
    Name(_WORKER, "_signal_stop_time", "attribute", _SHOP_WORKER, _HANGS, read_by=f"{_WORKER}._schedule_shutdown"),
    Name(_WORKER, "_on_sigusr1", "callable", _SHOP_WORKER, "SIGUSR1 prints the stacks of all tasks, secrets included",
         read_by=_WORKER),
    Name(_WORKER, "_on_sigusr2", "callable", _SHOP_WORKER, "SIGUSR2 opens a debugger that waits for input",
         read_by=_WORKER),
    Name(_WORKER, "on_worker_shutdown", "callable", _SHOP_WORKER, _HANGS, read_by=_WORKER),
    Name(_WORKER, "on_setup_root_logger", "callable", _SHOP_WORKER, "errors are logged with tracebacks, and repeatedly",
         ("logger", "level"), read_by=_WORKER),
    Name("faust.transport.drivers:TRANSPORTS", "aliases", "attribute", _SHOP_APP,
         "Faust uses its own transport, or none"),
    Name("faust.web.drivers:DRIVERS", "aliases", "attribute", _SHOP_APP, "Faust uses its own web server, or none"),
    *(
        Name("faust.sensors.prometheus:FaustMetrics", name, "attribute", "web/metrics.py", "the worker does not start")
        for name in ("http_latency", "rebalance_done_latency", "rebalance_done_consumer_latency")
    ),
    # --- Faust's web server, and aiohttp's
    Name(_WEB, "_wrap_into_asyncdef", "callable", _SERVER, "no page can be served", ("handler",)),
    Name(_WEB, "_runner", "attribute", _SERVER, _NO_LIMITS, read_by=f"{_WEB}.start_server"),
    Name(_WEB, "web_app", "attribute", _SERVER, "no page can be served", read_by=f"{_WEB}.wsgi"),
    Name(_WEB, "_new_transport_tcp", "callable", _SERVER, "the server listens at one address of several",
         read_by=f"{_WEB}.__init__"),
    Name(_WEB, "route", "callable", _SERVER, "no page can be served", ("pattern", "handler", "cors_options")),
    Name(_HANDLER, "_handle_request", "callable", _CONNECTIONS, _NO_LIMITS,
         ("request", "start_time", "request_handler"), read_by=f"{_HANDLER}.start"),
    Name(_HANDLER, "finish_response", "callable", _CONNECTIONS, _NO_LIMITS, ("request", "resp", "start_time"),
         read_by=f"{_HANDLER}._handle_request"),
    Name(_HANDLER, "handle_error", "callable", _CONNECTIONS, "errors are answered in HTML, or with a traceback",
         ("request", "status", "exc", "message"), read_by=_HANDLER),
    Name(_HANDLER, "_current_request", "attribute", _CONNECTIONS, _NO_LIMITS, read_by=f"{_HANDLER}._handle_request"),
    Name(_HANDLER, "_messages", "attribute", _CONNECTIONS, _NO_LIMITS, read_by=f"{_HANDLER}.start"),
    Name(_HANDLER, "_request_count", "attribute", _CONNECTIONS, _NO_LIMITS, read_by=f"{_HANDLER}.data_received"),
    Name(_HANDLER, "_loop", "attribute", _CONNECTIONS, _NO_LIMITS),
    Name(_HANDLER, "force_close", "callable", _CONNECTIONS, _NO_LIMITS),
    Name("aiohttp.web_server:Server", "_loop", "attribute", _CONNECTIONS, _NO_LIMITS),
    Name("aiohttp.web_server:Server", "_kwargs", "attribute", _CONNECTIONS, _NO_LIMITS),
    Name("aiohttp.web_runner:AppRunner", "_make_server", "callable", _RUNNER, _NO_LIMITS,
         read_by="aiohttp.web_runner:BaseRunner.setup"),
    Name("aiohttp.web_runner:AppRunner", "_cleanup_server", "callable", _RUNNER,
         "the task that closes slow connections is never cancelled", read_by="aiohttp.web_runner:BaseRunner.cleanup"),
)  # fmt: skip
