package telex.checks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.sink.SinkConnector;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/** Stands in for a sink that cannot be had here: writes down what Connect hands to it, a file for each task. */
public final class RecordingSink extends SinkConnector {
  private Map<String, String> settings;

  @Override
  public void start(Map<String, String> settings) {
    this.settings = settings;
  }

  @Override
  public List<Map<String, String>> taskConfigs(int count) {
    List<Map<String, String>> configs = new ArrayList<>();
    for (int number = 0; number < count; number++) {
      Map<String, String> config = new HashMap<>(settings);
      config.put("file", Path.of(settings.get("directory"), "task-" + number).toString());
      configs.add(config);
    }
    return configs;
  }

  @Override
  public Class<? extends Task> taskClass() {
    return Recorder.class;
  }

  @Override
  public void stop() {}

  /** Settings of the sink's own are known to the sink alone. */
  @Override
  public ConfigDef config() {
    return new ConfigDef();
  }

  @Override
  public String version() {
    return "1";
  }

  public static final class Recorder extends SinkTask {
    private Path file;

    @Override
    public void start(Map<String, String> settings) {
      file = Path.of(settings.get("file"));
    }

    /** A line for each: key and value in base64, and the type. */
    @Override
    public void put(Collection<SinkRecord> records) {
      StringBuilder lines = new StringBuilder();
      for (SinkRecord record : records) {
        Header type = record.headers().lastWithName("ce_type");
        lines.append(encoded(record.key())).append(' ').append(encoded(record.value())).append(' ');
        lines.append(type == null ? "none" : type.value()).append('\n');
      }
      try {
        Files.writeString(file, lines, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }

    private static String encoded(Object bytes) {
      return Base64.getEncoder().encodeToString((byte[]) bytes);
    }

    @Override
    public void stop() {}

    @Override
    public String version() {
      return "1";
    }
  }
}
