import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What a program in Java does with a broker: makes topics with and without
 * settings, describes them, writes, and reads a canonical topic as a member of a
 * group. Prints one line a step, "ok" or what was wrong. Arguments: the broker, a
 * topic to read, how many records it has at least, and, where the broker makes
 * topics by itself, one to write to that nobody made.
 */
public final class Reader {
    public static void main(String[] arguments) throws Exception {
        String broker = arguments[0];
        String topic = arguments[1];
        int wanted = Integer.parseInt(arguments[2]);
        String own = "java-" + ProcessHandle.current().pid();
        String written = arguments.length > 3 ? arguments[3] : own + "-plain";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            String plain = own + "-plain";
            String compacted = own + "-compacted";
            CreateTopicsResult made = admin.createTopics(List.of(
                new NewTopic(plain, 3, (short) 1),
                new NewTopic(compacted, 2, (short) 1).configs(Map.of("cleanup.policy", "compact"))));
            made.all().get();
            Map<String, TopicDescription> described = admin.describeTopics(List.of(plain, compacted, topic)).allTopicNames().get();
            say("describe", described.get(plain).partitions().size() == 3 && described.get(compacted).partitions().size() == 2
                && described.get(topic).partitions().get(0).leader() != null, described);
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, compacted);
            Map<String, ConfigEntry> settings = new TreeMap<>();
            admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().forEach(e -> settings.put(e.name(), e));
            ConfigEntry policy = settings.get("cleanup.policy");
            say("set configuration", policy.value().equals("compact") && policy.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG && !policy.isDefault(), policy);
            ConfigEntry size = settings.get("max.message.bytes");
            say("default configuration", size.isDefault() && size.source() == ConfigEntry.ConfigSource.DEFAULT_CONFIG, size);
            say("broker configuration", settings.values().stream().noneMatch(e -> e.source() == ConfigEntry.ConfigSource.UNKNOWN), settings);
        }
        Properties writing = new Properties();
        writing.put("bootstrap.servers", broker);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(writing, new StringSerializer(), new StringSerializer())) {
            long offset = producer.send(new ProducerRecord<>(written, "k", "v")).get().offset();
            say("write to " + written, offset >= 0, offset);
        }
        Properties reading = new Properties();
        reading.putAll(Map.of("bootstrap.servers", broker, "group.id", own, "auto.offset.reset", "earliest", "isolation.level", "read_committed"));
        for (int life = 0; life < 2; life++) { // the second goes on where the first has committed
            int read = 0;
            try (KafkaConsumer<String, byte[]> consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new ByteArrayDeserializer())) {
                consumer.subscribe(List.of(topic));
                Instant end = Instant.now().plusSeconds(life == 0 ? 60 : 5);
                while (Instant.now().isBefore(end) && (life == 1 || read < wanted)) {
                    for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                        read += record.value() != null && record.value()[0] == 0 ? 1 : 0;
                    }
                    consumer.commitSync();
                }
            }
            say(life == 0 ? "read " + topic : "go on behind what was read", life == 0 ? read >= wanted : read < wanted, read);
        }
    }

    private static void say(String step, boolean good, Object found) {
        System.out.println((good ? "ok " : "not ok ") + step + (good ? "" : ": " + found));
    }
}
