import java.io.Serializable;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.coders.KvCoder;
import org.apache.beam.sdk.coders.SerializableCoder;
import org.apache.beam.sdk.coders.StringUtf8Coder;
import org.apache.beam.sdk.io.TextIO;
import org.apache.beam.sdk.io.kafka.KafkaIO;
import org.apache.beam.sdk.io.kafka.KafkaRecord;
import org.apache.beam.sdk.io.kafka.KafkaSourceDescriptor;
import org.apache.beam.sdk.io.kafka.TimestampPolicy;
import org.apache.beam.sdk.options.Default;
import org.apache.beam.sdk.options.Description;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.schemas.Schema;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.StateSpecs;
import org.apache.beam.sdk.state.ValueState;
import org.apache.beam.sdk.transforms.Combine;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.Flatten;
import org.apache.beam.sdk.transforms.JsonToRow;
import org.apache.beam.sdk.transforms.Latest;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.SerializableFunction;
import org.apache.beam.sdk.transforms.ToJson;
import org.apache.beam.sdk.transforms.Values;
import org.apache.beam.sdk.transforms.View;
import org.apache.beam.sdk.transforms.windowing.AfterWatermark;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.GlobalWindows;
import org.apache.beam.sdk.transforms.windowing.IntervalWindow;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.PCollectionList;
import org.apache.beam.sdk.values.PCollectionView;
import org.apache.beam.sdk.values.Row;
import org.apache.beam.sdk.values.TypeDescriptor;
import org.apache.beam.sdk.values.TypeDescriptors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * What the shop sells: by product and minute, by category and minute, so far, and how it is restocked.
 *
 * Without --output it prints what it finds, as JSON, and goes on until it is stopped. With --output=FOLDER it takes what
 * is on the topics now, up to their ends, and writes files that `yasdg verify` reads.
 */
public class Sales {
    public interface Options extends PipelineOptions {
        @Description("Kafka")
        @Default.String("localhost:9092")
        String getBootstrapServers();

        void setBootstrapServers(String value);

        @Description("What the names of the topics begin with")
        @Default.String("demo")
        String getTopics();

        void setTopics(String value);

        @Description("A folder for the results; without one they are printed, without end")
        String getOutput();

        void setOutput(String value);
    }

    // Times are text: as DATETIME, RowJson accepts only ISO 8601 and keeps only milliseconds.
    static final Schema PURCHASE = Schema.builder()
        .addStringField("transaction_time")
        .addStringField("product_id")
        .addDecimalField("price")
        .addInt32Field("quantity")
        .addBooleanField("is_member")
        .addDecimalField("member_discount")
        .addBooleanField("add_supplements")
        .addDecimalField("supplement_price")
        .addDecimalField("total_purchase")
        .addStringField("transaction_id")
        .addNullableField("total_cost", Schema.FieldType.DECIMAL)
        .addDecimalField("promotion_discount")
        .addNullableField("substituted_from", Schema.FieldType.STRING)
        .build();
    static final Schema STOCKING = Schema.builder().addStringField("product_id").addInt32Field("stock_quantity").build();
    static final Schema PRODUCT = Schema.builder().addStringField("product_id").addStringField("category").build();

    static final Schema RUNNING = Schema.builder()
        .addFields(PURCHASE.getFields())
        .addInt64Field("sales")
        .addInt64Field("units")
        .addDecimalField("revenue")
        .build();

    /** What happened, added up. */
    record Sums(long sales, long units, BigDecimal revenue, long restocks, long restockedUnits) implements Serializable {
        static final Sums NONE = new Sums(0, 0, BigDecimal.ZERO, 0, 0);

        static Sums of(Row purchase) {
            return new Sums(1, purchase.getInt32("quantity"), purchase.getDecimal("total_purchase"), 0, 0);
        }

        static Sums ofStocking(Row stocking) {
            return new Sums(0, 0, BigDecimal.ZERO, 1, stocking.getInt32("stock_quantity"));
        }

        Sums plus(Sums other) {
            return new Sums(sales + other.sales, units + other.units, revenue.add(other.revenue),
                restocks + other.restocks, restockedUnits + other.restockedUnits);
        }
    }

    public static void main(String[] arguments) {
        Options options = PipelineOptionsFactory.fromArgs(arguments).withValidation().as(Options.class);
        boolean upToNow = options.getOutput() != null;
        Pipeline pipeline = Pipeline.create(options);

        // A sale is in flight for milliseconds, or some ten seconds after a worker was killed. Files need no delay.
        Duration onTheWay = upToNow ? Duration.ZERO : Duration.standardMinutes(1);
        PCollection<Row> purchases = read(pipeline, "purchases", PURCHASE, onTheWay, upToNow);
        // A delivery is published with the next sale of its product, with the event time at which it arrived: for a
        // product that is rarely sold, much later.
        PCollection<Row> stockings = read(pipeline, "stockings", STOCKING, Duration.standardDays(1), upToNow);
        PCollectionView<Map<String, String>> categories = read(pipeline, "products", PRODUCT, Duration.ZERO, true)
            .apply("Category of each", MapElements.into(TypeDescriptors.kvs(TypeDescriptors.strings(), TypeDescriptors.strings()))
                .via(product -> KV.of(product.getString("product_id"), product.getString("category"))))
            .apply("All products", whenAllIsRead())
            .apply("The latest counts", Latest.perKey())
            .apply(View.asMap());

        PCollection<KV<String, Sums>> sold = sums("Sales", purchases, "product_id", Sums::of);
        write("minutes", sum("Minutes", sold, Duration.standardMinutes(1), "product_id", false), options);

        PCollection<KV<String, Sums>> byCategory = sold
            .apply("Join with products", ParDo.of(new Join(categories)).withSideInputs(categories))
            .setCoder(sold.getCoder());
        write("categories", sum("Categories", byCategory, Duration.standardMinutes(1), "category", false), options);

        PCollection<KV<String, Sums>> moved = PCollectionList.of(sold)
            .and(sums("Restocks", stockings, "product_id", Sums::ofStocking))
            .apply(Flatten.pCollections());
        write("restocking", sum("Days", moved, Duration.standardDays(1), "product_id", true), options);

        PCollection<Row> running = purchases
            .apply("By product", MapElements.into(TypeDescriptors.kvs(TypeDescriptors.strings(), TypeDescriptors.rows()))
                .via(purchase -> KV.of(purchase.getString("product_id"), purchase)))
            .setCoder(KvCoder.of(StringUtf8Coder.of(), purchases.getCoder()))
            .apply("So far", ParDo.of(new Running()))
            .setRowSchema(RUNNING);
        write("totals", running, options);

        pipeline.run().waitUntilFinish();
    }

    /**
     * A topic's messages from its beginning, up to where it ends now or for ever. Their own times in Kafka are event times.
     * `delay`: by how much the time of one may be before that of another in front of it, and before the clock.
     */
    private static PCollection<Row> read(Pipeline pipeline, String topic, Schema schema, Duration delay, boolean upToNow) {
        Options options = pipeline.getOptions().as(Options.class);
        String name = options.getTopics() + "." + topic;
        PCollection<String> values;
        if (upToNow) {
            var read = KafkaIO.<String, String>readSourceDescriptors()
                .withBootstrapServers(options.getBootstrapServers())
                .withKeyDeserializer(StringDeserializer.class)
                .withValueDeserializer(StringDeserializer.class)
                .withConsumerPollingTimeout(1)
                .withCreateTime();
            values = pipeline
                .apply("Partitions of " + topic, Create.of(partitions(options.getBootstrapServers(), name)))
                // Where times are out of order, nothing moves the watermark before the end.
                .apply("Read " + topic, delay.equals(Duration.ZERO)
                    ? read.withMonotonicallyIncreasingWatermarkEstimator() : read.withManualWatermarkEstimator())
                .apply("Values of " + topic, MapElements.into(TypeDescriptors.strings())
                    .via((KafkaRecord<String, String> message) -> message.getKV().getValue()));
        } else {
            values = pipeline
                .apply("Read " + topic, KafkaIO.<String, String>read()
                    .withBootstrapServers(options.getBootstrapServers())
                    .withTopic(name)
                    .withKeyDeserializer(StringDeserializer.class)
                    .withValueDeserializer(StringDeserializer.class)
                    .withConsumerConfigUpdates(Map.of("auto.offset.reset", "earliest"))
                    .withTimestampPolicyFactory((partition, watermark) -> new EventTime(delay, watermark))
                    .withoutMetadata())
                .apply("Values of " + topic, Values.create());
        }
        return values.apply("Rows of " + topic, JsonToRow.withSchema(schema));
    }

    private static List<KafkaSourceDescriptor> partitions(String servers, String topic) {
        Map<String, Object> configuration = Map.of("bootstrap.servers", servers);
        List<TopicPartition> partitions = new ArrayList<>();
        try (var kafka = new KafkaConsumer<>(configuration, new StringDeserializer(), new StringDeserializer())) {
            for (PartitionInfo partition : kafka.partitionsFor(topic)) {
                partitions.add(new TopicPartition(topic, partition.partition()));
            }
            Map<TopicPartition, Long> ends = kafka.endOffsets(partitions);
            return partitions.stream()
                .map(partition -> KafkaSourceDescriptor.of(
                    partition, 0L, null, ends.get(partition), null, List.of(servers)))
                .toList();
        }
    }

    private static PCollection<KV<String, Sums>> sums(
            String name, PCollection<Row> rows, String key, SerializableFunction<Row, Sums> sums) {
        return rows
            .apply(name, MapElements.into(
                    TypeDescriptors.kvs(TypeDescriptors.strings(), TypeDescriptor.of(Sums.class)))
                .via(row -> KV.of(row.getString(key), sums.apply(row))))
            .setCoder(KvCoder.of(StringUtf8Coder.of(), SerializableCoder.of(Sums.class)));
    }

    private static PCollection<Row> sum(
            String name, PCollection<KV<String, Sums>> each, Duration window, String key, boolean restocks) {
        Schema.Builder schema = Schema.builder().addStringField("window_start").addStringField("window_end")
            .addStringField(key).addInt64Field("units");
        if (restocks) {
            schema.addInt64Field("restocks").addInt64Field("restocked_units")
                .addNullableField("restock_rate", Schema.FieldType.DECIMAL);
        } else {
            schema.addInt64Field("sales").addDecimalField("revenue");
        }
        Schema result = schema.build();
        return each
            .apply(name, Window.into(FixedWindows.of(window)))
            .apply(name + " in all", Combine.perKey((one, other) -> one.plus(other)))
            .apply(name + " as rows", ParDo.of(new AsRow(result, restocks)))
            .setRowSchema(result);
    }

    /**
     * The watermark of a partition: `delay` behind its latest message, or behind the clock where nothing more is to be read.
     *
     * Beam's own (withCreateTime) goes by the clock also when a reader has caught up with a shop that is still making up for
     * its past, and what that shop then says is late. So the clock counts only for whom it was close to already.
     */
    public static class EventTime extends TimestampPolicy<String, String> {
        private final Duration delay;
        private Instant latest;

        public EventTime(Duration delay, Optional<Instant> watermark) {
            this.delay = delay;
            latest = watermark.orElse(BoundedWindow.TIMESTAMP_MIN_VALUE).plus(delay);
        }

        @Override
        public Instant getTimestampForRecord(PartitionContext partition, KafkaRecord<String, String> message) {
            Instant time = new Instant(message.getTimestamp());
            if (time.isAfter(latest)) {
                latest = time;
            }
            return time;
        }

        @Override
        public Instant getWatermark(PartitionContext partition) {
            Instant clock = partition.getBacklogCheckTime();
            boolean close = latest.plus(delay.dividedBy(2)).isAfter(clock);
            if (partition.getMessageBacklog() == 0 && close && clock.isAfter(latest)) {
                latest = clock;
            }
            return latest.minus(delay);
        }
    }

    /** Results into files, or onto the terminal. */
    private static void write(String name, PCollection<Row> rows, Options options) {
        PCollection<String> lines = rows.apply(name + " as JSON", ToJson.of());
        if (options.getOutput() == null) {
            lines.apply("Print " + name, MapElements.into(TypeDescriptors.voids()).via(line -> {
                System.out.println(name + " " + line);
                return null;
            }));
        } else {
            lines.apply(name + ", all", whenAllIsRead())
                .apply("Write " + name, TextIO.write()
                    .to(options.getOutput() + "/" + name + "/part")
                    .withSuffix(".json")
                    .withWindowedWrites()
                    .withNumShards(1));
        }
    }

    /** All that there is at once, when a topic has been read up to where it ends. */
    private static <T> Window<T> whenAllIsRead() {
        return Window.<T>into(new GlobalWindows())
            .triggering(AfterWatermark.pastEndOfWindow())
            .withAllowedLateness(Duration.ZERO)
            .discardingFiredPanes();
    }

    static class Join extends DoFn<KV<String, Sums>, KV<String, Sums>> {
        private final PCollectionView<Map<String, String>> categories;

        Join(PCollectionView<Map<String, String>> categories) {
            this.categories = categories;
        }

        @ProcessElement
        public void process(ProcessContext context) {
            String category = context.sideInput(categories).get(context.element().getKey());
            context.output(KV.of(category, context.element().getValue()));
        }
    }

    static class AsRow extends DoFn<KV<String, Sums>, Row> {
        private final Schema schema;
        private final boolean restocks;

        AsRow(Schema schema, boolean restocks) {
            this.schema = schema;
            this.restocks = restocks;
        }

        @ProcessElement
        public void process(@Element KV<String, Sums> element, BoundedWindow window, OutputReceiver<Row> output) {
            IntervalWindow interval = (IntervalWindow) window;
            Sums sums = element.getValue();
            Row.Builder row = Row.withSchema(schema)
                .addValues(interval.start().toString(), interval.end().toString(), element.getKey(), sums.units());
            if (restocks) {
                BigDecimal rate = sums.units() == 0 ? null : BigDecimal.valueOf(sums.restockedUnits())
                    .divide(BigDecimal.valueOf(sums.units()), 4, RoundingMode.HALF_UP);
                row.addValues(sums.restocks(), sums.restockedUnits()).addValue(rate);
            } else {
                row.addValues(sums.sales(), sums.revenue());
            }
            output.output(row.build());
        }
    }

    /** Each sale with what its product has brought up to it, in the order in which sales arrive. */
    static class Running extends DoFn<KV<String, Row>, Row> {
        @StateId("so far")
        private final StateSpec<ValueState<Sums>> spec = StateSpecs.value(SerializableCoder.of(Sums.class));

        @ProcessElement
        public void process(
                @Element KV<String, Row> element, @StateId("so far") ValueState<Sums> state, OutputReceiver<Row> output) {
            Sums before = state.read();
            Sums sums = Sums.of(element.getValue()).plus(before == null ? Sums.NONE : before);
            state.write(sums);
            output.output(Row.withSchema(RUNNING)
                .addValues(element.getValue().getValues())
                .addValues(sums.sales(), sums.units(), sums.revenue())
                .build());
        }
    }
}
