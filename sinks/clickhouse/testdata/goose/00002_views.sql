-- The views that people read. Their column names are a contract: columns may be
-- added, never renamed or removed.
--
-- FINAL shows of each key the row with the greatest version, and hides it where
-- that row is a deletion. Times are UTC with microseconds, money is
-- Decimal(38, 9) beside its currency. account_id is NULL where a document names
-- no customer.

-- +goose NO TRANSACTION
-- +goose Up
CREATE OR REPLACE VIEW accounts AS
SELECT entity_id AS account_id, name, crm_id, subs_id, erp_id, crm_ids, subs_ids, erp_ids, vat_exempt, version, updated_at,
    system, native_id, source_position
FROM canonical_account FINAL;

CREATE OR REPLACE VIEW account_addresses AS
SELECT entity_id AS account_id, a_system AS system, a_native_id AS native_id, street, postal_code, city, country
FROM canonical_account FINAL
ARRAY JOIN addresses.system AS a_system, addresses.native_id AS a_native_id, addresses.street AS street,
    addresses.postal_code AS postal_code, addresses.city AS city, addresses.country AS country;

CREATE OR REPLACE VIEW account_contacts AS
SELECT entity_id AS account_id, c_system AS system, c_native_id AS native_id, type, value
FROM canonical_account FINAL
ARRAY JOIN contacts.system AS c_system, contacts.native_id AS c_native_id, contacts.type AS type, contacts.value AS value;

-- The newest version of each (party, account) decides, here too: a link that was
-- taken back has a newest version that is a deletion.
CREATE OR REPLACE VIEW identity_links AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, rule, linked_at, approximate, name, reference, ignored_references,
    version, updated_at, entity_id
FROM
(
    SELECT * FROM canonical_identity_link FINAL
    ORDER BY account_id, entity_id, version DESC
    LIMIT 1 BY account_id, entity_id
)
WHERE NOT deleted;

-- One row per link that ever held: versions that changed something else (a name)
-- belong to the link they found.
CREATE OR REPLACE VIEW identity_link_history AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, rule, reference, linked_at, approximate,
    min(version) AS first_version, max(version) AS last_version, entity_id
FROM canonical_identity_link FINAL
WHERE NOT deleted
GROUP BY system, native_id, entity_id, account_id, rule, reference, linked_at, approximate;

-- What a product of any kind is called: a product without a code has its
-- template's, its name is the template's; a service is its product.
CREATE OR REPLACE VIEW product_names AS
SELECT p.entity_id AS entity_id, p.system AS system, p.native_id AS native_id, p.kind AS kind,
    multiIf(p.kind = 'product', coalesce(nullIf(p.code, ''), o.code),
            p.kind = 'service', coalesce(nullIf(o.code, ''), oo.code, p.code), p.code) AS code,
    multiIf(p.kind = 'product', coalesce(o.name, p.name),
            p.kind = 'service', coalesce(oo.name, o.name, p.name), p.name) AS name,
    p.version AS version, p.updated_at AS updated_at
FROM (SELECT * FROM canonical_product FINAL) AS p
LEFT JOIN (SELECT entity_id, code, name, of_id FROM canonical_product FINAL) AS o ON o.entity_id = p.of_id
LEFT JOIN (SELECT entity_id, code, name FROM canonical_product FINAL) AS oo ON oo.entity_id = o.of_id;

CREATE OR REPLACE VIEW products AS
SELECT system, native_id, code, name, version, updated_at, entity_id
FROM product_names
WHERE kind = 'product';

CREATE OR REPLACE VIEW opportunities AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, deal_id, number, state, phase, description, amount, currency,
    created_at, approximate, version, updated_at, entity_id, source_position
FROM canonical_opportunity FINAL;

CREATE OR REPLACE VIEW orders AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, deal_id, number, state, net, tax, gross, currency, order_date,
    created_at, version, updated_at, entity_id, source_position
FROM canonical_order FINAL;

CREATE OR REPLACE VIEW subscriptions AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, deal_id, number, state, phase, order_number, start_date, end_date,
    monthly_net, currency, created_at, version, updated_at, entity_id, source_position
FROM canonical_subscription FINAL;

CREATE OR REPLACE VIEW invoices AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, deal_id, number, kind, state, phase, invoice_date, reference,
    order_number, net, tax, gross, paid, currency, created_at, version, updated_at, entity_id, source_position
FROM canonical_invoice FINAL;

CREATE OR REPLACE VIEW payments AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, deal_id, invoice_id, invoice_native_id, amount, paid_on, currency,
    created_at, version, updated_at, entity_id, source_position
FROM canonical_payment FINAL;

CREATE OR REPLACE VIEW opportunity_lines AS
SELECT l.system AS system, l.parent_native_id AS parent_native_id, l.line_native_id AS native_id, p.code AS product_code,
    l.quantity AS quantity, l.unit_price AS unit_price, l.currency AS currency, nullIf(l.account_id, '') AS account_id,
    l.deal_id AS deal_id, l.product_id AS product_id, l.version AS version
FROM
(
    SELECT system, native_id AS parent_native_id, account_id, deal_id, currency, version, line_native_id, product_id, quantity, unit_price
    FROM canonical_opportunity FINAL
    ARRAY JOIN lines.native_id AS line_native_id, lines.product_id AS product_id, lines.quantity AS quantity, lines.unit_price AS unit_price
) AS l
LEFT JOIN product_names AS p ON p.entity_id = l.product_id;

CREATE OR REPLACE VIEW order_lines AS
SELECT l.system AS system, l.parent_native_id AS parent_native_id, l.line_native_id AS native_id, p.code AS product_code,
    l.quantity AS quantity, l.unit_price AS unit_price, l.currency AS currency, nullIf(l.account_id, '') AS account_id,
    l.deal_id AS deal_id, l.product_id AS product_id, l.version AS version
FROM
(
    SELECT system, native_id AS parent_native_id, account_id, deal_id, currency, version, line_native_id, product_id, quantity, unit_price
    FROM canonical_order FINAL
    ARRAY JOIN lines.native_id AS line_native_id, lines.product_id AS product_id, lines.quantity AS quantity, lines.unit_price AS unit_price
) AS l
LEFT JOIN product_names AS p ON p.entity_id = l.product_id;

CREATE OR REPLACE VIEW subscription_lines AS
SELECT l.system AS system, l.parent_native_id AS parent_native_id, l.line_native_id AS native_id, p.code AS product_code,
    l.quantity AS quantity, l.unit_price AS unit_price, l.currency AS currency, nullIf(l.account_id, '') AS account_id,
    l.deal_id AS deal_id, l.product_id AS product_id, l.version AS version
FROM
(
    SELECT system, native_id AS parent_native_id, account_id, deal_id, currency, version, line_native_id, product_id, quantity, unit_price
    FROM canonical_subscription FINAL
    ARRAY JOIN lines.native_id AS line_native_id, lines.product_id AS product_id, lines.quantity AS quantity, lines.unit_price AS unit_price
) AS l
LEFT JOIN product_names AS p ON p.entity_id = l.product_id;

CREATE OR REPLACE VIEW invoice_lines AS
SELECT l.system AS system, l.parent_native_id AS parent_native_id, l.line_native_id AS native_id, p.code AS product_code,
    l.quantity AS quantity, l.unit_price AS unit_price, l.currency AS currency, nullIf(l.account_id, '') AS account_id,
    l.deal_id AS deal_id, l.product_id AS product_id, l.version AS version
FROM
(
    SELECT system, native_id AS parent_native_id, account_id, deal_id, currency, version, line_native_id, product_id, quantity, unit_price
    FROM canonical_invoice FINAL
    ARRAY JOIN lines.native_id AS line_native_id, lines.product_id AS product_id, lines.quantity AS quantity, lines.unit_price AS unit_price
) AS l
LEFT JOIN product_names AS p ON p.entity_id = l.product_id;

-- approximate: at least one time comes from a snapshot row's columns;
-- approximate_milestones names them.
CREATE OR REPLACE VIEW deals AS
SELECT entity_id AS deal_id, nullIf(canonical_deal.account_id, '') AS account_id, opportunity_native_id, order_number, subscription_number,
    invoice_number, stage, opened_at, won_at, lost_at, activated_at, invoiced_at, paid_at,
    toBool(notEmpty(canonical_deal.approximate)) AS approximate, canonical_deal.approximate AS approximate_milestones, amount, currency,
    version, updated_at, system, native_id, source_position
FROM canonical_deal FINAL;

CREATE OR REPLACE VIEW facts AS
SELECT deal_id, account_id, fact.1 AS step, assumeNotNull(fact.2) AS at, toBool(has(approximate_milestones, concat(fact.1, '_at'))) AS approximate, version
FROM deals
ARRAY JOIN [('opened', opened_at), ('won', won_at), ('lost', lost_at), ('activated', activated_at), ('invoiced', invoiced_at), ('paid', paid_at)] AS fact
WHERE fact.2 IS NOT NULL;

-- Seconds from one milestone to the next. A pair with an approximate end counts
-- under approximate and stays out of percentiles and max, which are NULL where
-- count is 0. A deal that waits for its end counts under the day of its start.
CREATE OR REPLACE VIEW kpi_daily AS
SELECT day, metric, countIf(ended AND NOT vague) AS count, countIf(ended AND vague) AS approximate, countIf(NOT ended) AS open,
    if(countIf(ended AND NOT vague) = 0, NULL, quantileExactIf(0.5)(seconds, ended AND NOT vague)) AS p50,
    if(countIf(ended AND NOT vague) = 0, NULL, quantileExactIf(0.9)(seconds, ended AND NOT vague)) AS p90,
    if(countIf(ended AND NOT vague) = 0, NULL, quantileExactIf(0.99)(seconds, ended AND NOT vague)) AS p99,
    if(countIf(ended AND NOT vague) = 0, NULL, maxIf(seconds, ended AND NOT vague)) AS max,
    if(countIf(NOT ended) = 0, NULL, maxIf(age, NOT ended)) AS oldest_open_seconds
FROM
(
    SELECT pair.1 AS metric, pair.3 IS NOT NULL AS ended, pair.4 AS vague,
        toDate(assumeNotNull(coalesce(pair.3, pair.2)), 'UTC') AS day,
        (toUnixTimestamp64Micro(assumeNotNull(pair.3)) - toUnixTimestamp64Micro(assumeNotNull(pair.2))) / 1e6 AS seconds,
        intDiv(toUnixTimestamp64Micro(now64(6, 'UTC')) - toUnixTimestamp64Micro(assumeNotNull(pair.2)), 1000000) AS age
    FROM deals
    ARRAY JOIN [('quote_to_activation', won_at, activated_at, hasAny(approximate_milestones, ['won_at', 'activated_at'])),
                ('invoice_lag', activated_at, invoiced_at, hasAny(approximate_milestones, ['activated_at', 'invoiced_at']))] AS pair
    WHERE pair.2 IS NOT NULL AND (pair.3 IS NOT NULL OR stage != 'lost')
)
GROUP BY day, metric;

-- One row per source topic, over all hops and partitions.
CREATE OR REPLACE VIEW feed_health AS
SELECT topic, sum(f.received) AS received, sum(f.repeated) AS repeated, sum(f.stale) AS stale, sum(f.waiting) AS waiting,
    sum(f.letters) - sum(f.healed) AS letters, max(f.last_event_at) AS last_event_at, max(f.last_seen_at) AS last_seen_at,
    sum(f.healed) AS healed, min(f.waiting_since) AS waiting_since, sum(f.unavailable) AS unavailable,
    sum(f.out_of_snapshot) AS out_of_snapshot, sum(f.tombstones) AS tombstones
FROM (SELECT * FROM feeds_raw FINAL) AS f
GROUP BY topic;

CREATE OR REPLACE VIEW letters AS
SELECT topic, partition, offset, timestamp, hop, reason, message, healed, key, value
FROM letters_raw FINAL;
