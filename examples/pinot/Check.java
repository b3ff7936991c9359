import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.commons.lang3.tuple.Pair;
import org.apache.pinot.segment.local.segment.creator.TransformPipeline;
import org.apache.pinot.segment.local.utils.SchemaUtils;
import org.apache.pinot.segment.local.utils.TableConfigUtils;
import org.apache.pinot.spi.config.table.TableConfig;
import org.apache.pinot.spi.data.Schema;
import org.apache.pinot.spi.data.readers.BaseRecordExtractor;
import org.apache.pinot.spi.data.readers.GenericRow;
import org.apache.pinot.spi.data.readers.RecordExtractorConfig;
import org.apache.pinot.spi.stream.BytesStreamMessage;
import org.apache.pinot.spi.stream.StreamConfig;
import org.apache.pinot.spi.stream.StreamDataDecoderImpl;
import org.apache.pinot.spi.stream.StreamDataDecoderResult;
import org.apache.pinot.spi.stream.StreamMessageDecoder;
import org.apache.pinot.spi.stream.StreamMessageMetadata;
import org.apache.pinot.spi.utils.JsonUtils;

/**
 * Holds a table's schema and configuration against Pinot's own rules, and prints the rows that Pinot would index of
 * messages on the standard input, one a line: Check.java FOLDER TABLE.
 */
public class Check {
  /** When the messages are said to have been appended; milliseconds since 1970. */
  private static final String APPENDED_AT = "1780272105131";

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 2) {
      System.err.println("Usage: Check.java FOLDER TABLE");
      System.exit(2);
    }
    try {
      check(new File(arguments[0]), arguments[1]);
    } catch (RuntimeException error) {
      System.err.println(arguments[1] + ": " + error.getMessage());
      for (Throwable cause = error.getCause(); cause != null; cause = cause.getCause()) {
        System.err.println("  " + cause.getMessage());
      }
      System.exit(1);
    }
  }

  private static void check(File folder, String name) throws Exception {
    Schema schema = read(new File(folder, name + "_schema.json"), Schema.class);
    TableConfig table = read(new File(folder, name + "_table.json"), TableConfig.class);
    SchemaUtils.validate(schema, List.of(table));
    TableConfigUtils.validate(table, schema);
    Map<String, String> stream = table.getIngestionConfig().getStreamIngestionConfig().getStreamConfigMaps().get(0);
    StreamConfig kafka = new StreamConfig(table.getTableName(), stream);
    System.err.printf("%s reads %s from the %s offset, with %s and %s%n", table.getTableName(), kafka.getTopicName(),
        kafka.getOffsetCriteria().getOffsetString(), kafka.getConsumerFactoryClassName(), kafka.getDecoderClass());

    TransformPipeline pipeline = new TransformPipeline(table, schema);
    TransformPipeline.Result result = new TransformPipeline.Result();
    Json json = new Json();
    json.init(stream, Set.copyOf(pipeline.getInputColumns()), kafka.getTopicName());
    StreamDataDecoderImpl decoder = new StreamDataDecoderImpl(json);
    StreamMessageMetadata metadata = new StreamMessageMetadata.Builder().setHeaders(new GenericRow())
        .setMetadata(Map.of("recordTimestamp", APPENDED_AT)).build();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      byte[] value = line.getBytes(StandardCharsets.UTF_8);
      StreamDataDecoderResult decoded = decoder.decode(new BytesStreamMessage(null, value, metadata));
      if (decoded.getException() != null) {
        throw new IllegalStateException(line, decoded.getException());
      }
      pipeline.processRow(decoded.getResult(), result);
      if (result.getTransformedRows().size() != 1 || result.getIncompleteRowCount() > 0) {
        throw new IllegalStateException("not taken: " + line);
      }
      System.out.println(text(schema, result.getTransformedRows().get(0)));
      decoded.getResult().clear();
    }
  }

  /** Reads a file as Pinot's controller does. What Pinot does not know is an error: most likely it is misspelt. */
  private static <T> T read(File file, Class<T> kind) throws Exception {
    Pair<T, Map<String, Object>> found =
        JsonUtils.stringToObjectAndUnrecognizedProperties(Files.readString(file.toPath()), kind);
    if (!found.getRight().isEmpty()) {
      throw new IllegalStateException(file.getName() + " has what Pinot does not know: " + found.getRight().keySet());
    }
    return found.getLeft();
  }

  /** A row as JSON, as Pinot keeps it: times in milliseconds since 1970, true and false as 1 and 0; amounts as text. */
  private static String text(Schema schema, GenericRow row) throws Exception {
    Map<String, Object> columns = new LinkedHashMap<>();
    for (String column : schema.getPhysicalColumnNames()) {
      Object value = row.isNullValue(column) ? null : row.getValue(column);
      columns.put(column, value instanceof BigDecimal ? ((BigDecimal) value).toPlainString() : value);
    }
    return JsonUtils.objectToString(columns);
  }

  /** What Pinot's JSONMessageDecoder does, whose jar cannot be had, with the classes of Pinot's that it uses. */
  private static class Json extends BaseRecordExtractor<Map<String, Object>> implements StreamMessageDecoder<byte[]> {
    private Set<String> _fields;

    @Override
    public void init(Map<String, String> properties, Set<String> fields, String topic) {
      _fields = fields;
    }

    @Override
    public void init(Set<String> fields, RecordExtractorConfig config) {
      _fields = fields;
    }

    @Override
    public GenericRow decode(byte[] message, GenericRow row) {
      try {
        return extract(JsonUtils.jsonNodeToMap(JsonUtils.bytesToJsonNode(message)), row);
      } catch (Exception error) {
        throw new IllegalStateException(error);
      }
    }

    @Override
    public GenericRow decode(byte[] message, int offset, int length, GenericRow row) {
      return decode(Arrays.copyOfRange(message, offset, offset + length), row);
    }

    @Override
    public GenericRow extract(Map<String, Object> message, GenericRow row) {
      for (String field : _fields) {
        Object value = message.get(field);
        row.putValue(field, value == null ? null : convert(value));
      }
      return row;
    }
  }
}
