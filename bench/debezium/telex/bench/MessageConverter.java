package telex.bench;

import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.storage.Converter;

/**
 * Reads the records of the topic telex.messages as they are, so that the sink drains the very same log as
 * the processor. The JDBC sink wants a schema with each value, and Connect's own way to have one without a
 * registry repeats it in every record: slower to read, and another topic.
 */
public final class MessageConverter implements Converter {
  private static final String[] FIELDS = {
    "external_client_id", "client_phone", "external_message_id", "text", "sent_at"
  };
  private static final Schema SCHEMA = schema();

  private final JsonConverter json = new JsonConverter();

  private static Schema schema() {
    SchemaBuilder builder = SchemaBuilder.struct().name("message");
    for (String field : FIELDS) {
      builder.field(field, field.equals("sent_at") ? Schema.OPTIONAL_STRING_SCHEMA : Schema.STRING_SCHEMA);
    }
    return builder.build();
  }

  @Override
  public void configure(Map<String, ?> settings, boolean isKey) {
    json.configure(Map.of("schemas.enable", "false"), isKey);
  }

  @Override
  public SchemaAndValue toConnectData(String topic, byte[] bytes) {
    Map<?, ?> members = (Map<?, ?>) json.toConnectData(topic, bytes).value();
    Struct message = new Struct(SCHEMA);
    for (String field : FIELDS) {
      message.put(field, members.get(field));
    }
    return new SchemaAndValue(SCHEMA, message);
  }

  @Override
  public byte[] fromConnectData(String topic, Schema schema, Object value) {
    throw new UnsupportedOperationException("only read");
  }
}
