package io.confluent.connect.avro;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.apicurio.registry.utils.converter.avro.AvroData;
import io.apicurio.registry.utils.converter.avro.AvroDataConfig;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.storage.Converter;

/**
 * Stands in for Confluent's converter of the same name, which Maven Central does
 * not have, so that a worker's settings are tested as people write them: schemas
 * by Connect's usual mapping, registered over REST, and in front of each value a
 * zero byte and the schema's id. Only for sources: it does not read.
 */
public final class AvroConverter implements Converter {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int KEPT = 1000;

    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    private final Map<String, Integer> ids = new HashMap<>();
    private AvroData mapping;
    private String registry;
    private String suffix;

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        registry = settings.get("schema.registry.url").toString();
        suffix = isKey ? "-key" : "-value";
        mapping = new AvroData(new AvroDataConfig(Map.of("connect.meta.data", true, "enhanced.avro.schema.support", false)));
    }

    @Override
    public synchronized byte[] fromConnectData(String topic, Schema schema, Object value) {
        if (value == null) {
            return null; // a tombstone
        }
        try {
            org.apache.avro.Schema avro = mapping.fromConnectSchema(schema);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            out.write(ByteBuffer.allocate(5).put((byte) 0).putInt(id(topic + suffix, avro)).array());
            BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, null);
            new GenericDatumWriter<>(avro).write(mapping.fromConnectData(schema, value), encoder);
            encoder.flush();
            return out.toByteArray();
        } catch (IOException e) {
            throw new DataException("encoding a record of " + topic, e);
        }
    }

    private int id(String subject, org.apache.avro.Schema schema) {
        String known = subject + ' ' + schema;
        Integer id = ids.get(known);
        if (id == null) {
            id = register(subject, schema);
            if (ids.size() >= KEPT) {
                ids.clear();
            }
            ids.put(known, id);
        }
        return id;
    }

    private int register(String subject, org.apache.avro.Schema schema) {
        String path = "/subjects/" + URLEncoder.encode(subject, StandardCharsets.UTF_8) + "/versions";
        String body = JSON.createObjectNode().put("schema", schema.toString()).toString();
        HttpRequest request = HttpRequest.newBuilder(URI.create(registry + path)).timeout(Duration.ofSeconds(30))
            .header("Content-Type", "application/vnd.schemaregistry.v1+json").POST(HttpRequest.BodyPublishers.ofString(body)).build();
        HttpResponse<String> response;
        try {
            response = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (response.statusCode() == 200) {
                JsonNode id = JSON.readTree(response.body()).get("id");
                return id.asInt();
            }
        } catch (IOException e) {
            throw new RetriableException("the schema registry at " + registry + " does not answer", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new RetriableException("interrupted while registering " + subject, e);
        }
        throw new DataException("registering " + subject + ": " + response.statusCode() + " " + response.body());
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] value) {
        throw new DataException("this converter only writes");
    }
}
