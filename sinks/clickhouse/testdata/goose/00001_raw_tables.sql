-- The raw tables, one per topic. Rows are only ever added; a view shows the row
-- with the greatest version of each key.
--
-- _topic, _partition, _first and _last are the range of offsets of the batch that
-- a row came with: the sink reads from them where to go on. _offset is the row's
-- own. account_id is '' where there is none: a nullable column would not do in
-- the sorting key. The sink names every column it writes, so a migration may add
-- columns with defaults before a sink knows them.
--
-- The deduplication window keeps the tokens of the last inserts; without it a
-- MergeTree outside a cluster takes the same batch twice. Parts replaced by a
-- merge are removed soon, as a flush twice a second makes many of them.

-- +goose NO TRANSACTION
-- +goose Up
-- One row per customer and version. account_id equals entity_id.
CREATE TABLE IF NOT EXISTS canonical_account
(
    entity_id       String,
    account_id      String,
    version         Int64,
    deleted         UInt8,
    system          LowCardinality(String),
    native_id       String,
    updated_at      Nullable(DateTime64(6, 'UTC')),
    source_position Nullable(String),
    name            Nullable(String),
    crm_id          Nullable(String),
    subs_id         Nullable(String),
    erp_id          Nullable(String),
    crm_ids         Array(String),
    subs_ids        Array(String),
    erp_ids         Array(String),
    vat_exempt      Nullable(Bool),
    addresses       Nested(system String, native_id String, street Nullable(String), postal_code Nullable(String), city Nullable(String), country Nullable(String)),
    contacts        Nested(system String, native_id String, type Nullable(String), value Nullable(String)),
    _topic          LowCardinality(String),
    _partition      Int32,
    _first          Int64,
    _last           Int64,
    _offset         Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

-- Every version is kept: the table is the history of links.
CREATE TABLE IF NOT EXISTS canonical_identity_link
(
    entity_id          String,
    account_id         String,
    version            Int64,
    deleted            UInt8,
    system             LowCardinality(String),
    native_id          String,
    updated_at         Nullable(DateTime64(6, 'UTC')),
    source_position    Nullable(String),
    rule               LowCardinality(String),
    linked_at          Nullable(DateTime64(6, 'UTC')),
    approximate        Bool,
    name               Nullable(String),
    reference          Nullable(String),
    ignored_references Array(String),
    _topic             LowCardinality(String),
    _partition         Int32,
    _first             Int64,
    _last              Int64,
    _offset            Int64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, entity_id, version)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

-- Products, templates of products and services.
CREATE TABLE IF NOT EXISTS canonical_product
(
    entity_id       String,
    account_id      String,
    version         Int64,
    deleted         UInt8,
    system          LowCardinality(String),
    native_id       String,
    updated_at      Nullable(DateTime64(6, 'UTC')),
    source_position Nullable(String),
    kind            LowCardinality(String),
    code            Nullable(String),
    name            Nullable(String),
    of_id           Nullable(String),
    _topic          LowCardinality(String),
    _partition      Int32,
    _first          Int64,
    _last           Int64,
    _offset         Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

CREATE TABLE IF NOT EXISTS canonical_opportunity
(
    entity_id       String,
    account_id      String,
    version         Int64,
    deleted         UInt8,
    system          LowCardinality(String),
    native_id       String,
    updated_at      Nullable(DateTime64(6, 'UTC')),
    source_position Nullable(String),
    deal_id         Nullable(String),
    state           Nullable(String),
    phase           Nullable(String),
    number          Nullable(String),
    description     Nullable(String),
    amount          Nullable(Decimal(38, 9)),
    currency        Nullable(String),
    created_at      Nullable(DateTime64(6, 'UTC')),
    approximate     Bool,
    lines           Nested(native_id String, product_id Nullable(String), quantity Nullable(Decimal(38, 9)), unit_price Nullable(Decimal(38, 9))),
    _topic          LowCardinality(String),
    _partition      Int32,
    _first          Int64,
    _last           Int64,
    _offset         Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

CREATE TABLE IF NOT EXISTS canonical_order
(
    entity_id       String,
    account_id      String,
    version         Int64,
    deleted         UInt8,
    system          LowCardinality(String),
    native_id       String,
    updated_at      Nullable(DateTime64(6, 'UTC')),
    source_position Nullable(String),
    deal_id         Nullable(String),
    state           Nullable(String),
    number          Nullable(String),
    net             Nullable(Decimal(38, 9)),
    tax             Nullable(Decimal(38, 9)),
    gross           Nullable(Decimal(38, 9)),
    currency        Nullable(String),
    order_date      Nullable(Date32),
    created_at      Nullable(DateTime64(6, 'UTC')),
    lines           Nested(native_id String, product_id Nullable(String), quantity Nullable(Decimal(38, 9)), unit_price Nullable(Decimal(38, 9))),
    _topic          LowCardinality(String),
    _partition      Int32,
    _first          Int64,
    _last           Int64,
    _offset         Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

CREATE TABLE IF NOT EXISTS canonical_subscription
(
    entity_id       String,
    account_id      String,
    version         Int64,
    deleted         UInt8,
    system          LowCardinality(String),
    native_id       String,
    updated_at      Nullable(DateTime64(6, 'UTC')),
    source_position Nullable(String),
    deal_id         Nullable(String),
    state           Nullable(String),
    phase           Nullable(String),
    number          Nullable(String),
    order_number    Nullable(String),
    start_date      Nullable(Date32),
    end_date        Nullable(Date32),
    monthly_net     Nullable(Decimal(38, 9)),
    currency        Nullable(String),
    created_at      Nullable(DateTime64(6, 'UTC')),
    lines           Nested(native_id String, product_id Nullable(String), quantity Nullable(Decimal(38, 9)), unit_price Nullable(Decimal(38, 9))),
    _topic          LowCardinality(String),
    _partition      Int32,
    _first          Int64,
    _last           Int64,
    _offset         Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

CREATE TABLE IF NOT EXISTS canonical_invoice
(
    entity_id       String,
    account_id      String,
    version         Int64,
    deleted         UInt8,
    system          LowCardinality(String),
    native_id       String,
    updated_at      Nullable(DateTime64(6, 'UTC')),
    source_position Nullable(String),
    deal_id         Nullable(String),
    state           Nullable(String),
    phase           Nullable(String),
    number          Nullable(String),
    kind            LowCardinality(String),
    invoice_date    Nullable(Date32),
    reference       Nullable(String),
    order_number    Nullable(String),
    net             Nullable(Decimal(38, 9)),
    tax             Nullable(Decimal(38, 9)),
    gross           Nullable(Decimal(38, 9)),
    paid            Nullable(Decimal(38, 9)),
    currency        Nullable(String),
    created_at      Nullable(DateTime64(6, 'UTC')),
    lines           Nested(native_id String, product_id Nullable(String), quantity Nullable(Decimal(38, 9)), unit_price Nullable(Decimal(38, 9))),
    _topic          LowCardinality(String),
    _partition      Int32,
    _first          Int64,
    _last           Int64,
    _offset         Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

CREATE TABLE IF NOT EXISTS canonical_payment
(
    entity_id         String,
    account_id        String,
    version           Int64,
    deleted           UInt8,
    system            LowCardinality(String),
    native_id         String,
    updated_at        Nullable(DateTime64(6, 'UTC')),
    source_position   Nullable(String),
    deal_id           Nullable(String),
    invoice_id        Nullable(String),
    invoice_native_id Nullable(String),
    amount            Nullable(Decimal(38, 9)),
    paid_on           Nullable(Date32),
    currency          Nullable(String),
    created_at        Nullable(DateTime64(6, 'UTC')),
    _topic            LowCardinality(String),
    _partition        Int32,
    _first            Int64,
    _last             Int64,
    _offset           Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

-- approximate names the columns that come from a snapshot row.
CREATE TABLE IF NOT EXISTS canonical_deal
(
    entity_id             String,
    account_id            String,
    version               Int64,
    deleted               UInt8,
    system                LowCardinality(String),
    native_id             String,
    updated_at            Nullable(DateTime64(6, 'UTC')),
    source_position       Nullable(String),
    opportunity_native_id Nullable(String),
    order_number          Nullable(String),
    subscription_number   Nullable(String),
    invoice_number        Nullable(String),
    stage                 LowCardinality(String),
    opened_at             Nullable(DateTime64(6, 'UTC')),
    won_at                Nullable(DateTime64(6, 'UTC')),
    lost_at               Nullable(DateTime64(6, 'UTC')),
    activated_at          Nullable(DateTime64(6, 'UTC')),
    invoiced_at           Nullable(DateTime64(6, 'UTC')),
    paid_at               Nullable(DateTime64(6, 'UTC')),
    approximate           Array(String),
    amount                Nullable(Decimal(38, 9)),
    currency              Nullable(String),
    _topic                LowCardinality(String),
    _partition            Int32,
    _first                Int64,
    _last                 Int64,
    _offset               Int64
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (account_id, entity_id)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

-- The version of a letter is its offset in the topic of letters: the later one of the same place wins.
CREATE TABLE IF NOT EXISTS letters_raw
(
    topic      String,
    partition  Int32,
    offset     Int64,
    timestamp  DateTime64(3, 'UTC'),
    hop        LowCardinality(String),
    reason     LowCardinality(String),
    message    String,
    healed     Bool,
    key        Nullable(String),
    value      Nullable(String),
    _topic     LowCardinality(String),
    _partition Int32,
    _first     Int64,
    _last      Int64,
    _offset    Int64
)
ENGINE = ReplacingMergeTree(_offset)
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;

CREATE TABLE IF NOT EXISTS feeds_raw
(
    topic           String,
    hop             LowCardinality(String),
    partition       Int32,
    version         Int64,
    received        Int64,
    repeated        Int64,
    stale           Int64,
    waiting         Int64,
    waiting_since   Nullable(DateTime64(6, 'UTC')),
    letters         Int64,
    healed          Int64,
    unavailable     Int64,
    out_of_snapshot Int64,
    tombstones      Int64,
    last_event_at   Nullable(DateTime64(6, 'UTC')),
    last_seen_at    Nullable(DateTime64(6, 'UTC')),
    _topic          LowCardinality(String),
    _partition      Int32,
    _first          Int64,
    _last           Int64,
    _offset         Int64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, hop, partition)
SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60;
