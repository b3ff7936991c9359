import java.util.Optional;
import org.apache.beam.sdk.io.kafka.KafkaRecord;
import org.apache.beam.sdk.io.kafka.KafkaTimestampType;
import org.apache.beam.sdk.io.kafka.TimestampPolicy;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * Says the watermark of a partition of Beam's example, with a delay of 60 s, after each argument: `message TIME`,
 * `nothing CLOCK` (there is nothing more to read), `more CLOCK` (there is), `again` (a new reader goes on); in seconds.
 */
public class EventTimes {
    static final Duration DELAY = Duration.standardMinutes(1);

    public static void main(String[] arguments) {
        TimestampPolicy<String, String> partition = new Sales.EventTime(DELAY, Optional.empty());
        for (String argument : arguments) {
            String[] words = argument.split(" ");
            long seconds = words.length > 1 ? Long.parseLong(words[1]) : 0;
            Context context = new Context(words[0].equals("nothing") ? 0 : 7, seconds);
            if (words[0].equals("message")) {
                partition.getTimestampForRecord(context, new KafkaRecord<>(
                    "demo.purchases", 0, 0, 1000 * seconds, KafkaTimestampType.CREATE_TIME, null, "", ""));
            } else if (words[0].equals("again")) {
                partition = new Sales.EventTime(DELAY, Optional.of(partition.getWatermark(context)));
            }
            System.out.println(partition.getWatermark(context).getMillis() / 1000);
        }
    }

    static class Context extends TimestampPolicy.PartitionContext {
        private final long backlog;
        private final long clock;

        Context(long backlog, long clock) {
            this.backlog = backlog;
            this.clock = clock;
        }

        @Override
        public long getMessageBacklog() {
            return backlog;
        }

        @Override
        public Instant getBacklogCheckTime() {
            return new Instant(1000 * clock);
        }
    }
}
