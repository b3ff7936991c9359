import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/**
 * Runs SQL one statement after the other, as Flink's SQL client does: of files whose names end in .sql, or as it stands.
 *
 * A statement ends with a semicolon before an empty line. SELECT prints what it finds, and goes on until its tables end.
 */
public class Sql {
    private static final Pattern END = Pattern.compile(";\\s*(\n\\s*\n|$)");
    private static final Pattern COMMENT = Pattern.compile("(?m)^[ \t]*--.*\n?");
    private static final Pattern SET = Pattern.compile("SET\\s+'(.+)'\\s*=\\s*'(.+)'", Pattern.CASE_INSENSITIVE);

    public static void main(String[] arguments) throws Exception {
        TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        for (String argument : arguments) {
            String text = argument.endsWith(".sql") ? Files.readString(Path.of(argument)) : argument;
            for (String statement : END.split(COMMENT.matcher(text).replaceAll(""))) {
                run(tables, statement.strip());
            }
        }
    }

    private static void run(TableEnvironment tables, String statement) throws Exception {
        Matcher set = SET.matcher(statement);
        if (set.matches()) {
            tables.getConfig().set(set.group(1), set.group(2));
        } else if (!statement.isEmpty()) {
            TableResult result = tables.executeSql(statement);
            if (statement.regionMatches(true, 0, "SELECT", 0, 6)) {
                result.print();
            } else {
                result.await();
            }
        }
    }
}
