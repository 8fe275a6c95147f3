-- The id of the topic that a row's range of offsets is of, as Kafka's tools show
-- it; '' on rows from before this column. A topic that was deleted and created
-- again has another one, and its offsets mean other records.

-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE canonical_account ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_identity_link ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_product ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_opportunity ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_order ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_subscription ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_invoice ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_payment ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE canonical_deal ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE letters_raw ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
ALTER TABLE feeds_raw ADD COLUMN IF NOT EXISTS _topic_id LowCardinality(String) AFTER _topic;
