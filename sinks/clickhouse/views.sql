-- The views that people read. Their column names are a contract: columns may be
-- added, never renamed or removed.
--
-- The comment above a view says what its rows are, a line with @ what a column
-- means; a column without one means what it means in the table or view where it
-- comes from. {order} stands for the columns of an order's own: a field that is
-- added to the record is in the view. docs/views.md is written from here.
--
-- FINAL shows of each key the row with the greatest version, and hides it where
-- that row is a deletion. Times are UTC with microseconds, money is
-- Decimal(38, 9) beside its currency. account_id is NULL where a document names
-- no customer.

-- One row per customer, over all systems.
-- @account_id id of the account
-- @system system of the party whose name the account bears
-- @native_id id of that party, in the words of its system
CREATE OR REPLACE VIEW accounts AS
SELECT entity_id AS account_id, {account}, version, updated_at, system, native_id, source_position
FROM canonical_account FINAL;

-- One row per postal address of a customer's parties.
-- @account_id id of the account
-- @system catalog name of the system that the address comes from
-- @native_id id of the address row, in the words of its system
-- @street street and number
-- @postal_code postal code
-- @city town or city
-- @country country, as its system writes it
CREATE OR REPLACE VIEW account_addresses AS
SELECT entity_id AS account_id, a_system AS system, a_native_id AS native_id, street, postal_code, city, country
FROM canonical_account FINAL
ARRAY JOIN addresses.system AS a_system, addresses.native_id AS a_native_id, addresses.street AS street,
    addresses.postal_code AS postal_code, addresses.city AS city, addresses.country AS country;

-- One row per way to reach a customer.
-- @account_id id of the account
-- @system catalog name of the system that the contact comes from
-- @native_id id of the contact row, in the words of its system
-- @type kind of contact in the words of its system: phone, email, …
-- @value the number or address itself
CREATE OR REPLACE VIEW account_contacts AS
SELECT entity_id AS account_id, c_system AS system, c_native_id AS native_id, type, value
FROM canonical_account FINAL
ARRAY JOIN contacts.system AS c_system, contacts.native_id AS c_native_id, contacts.type AS type, contacts.value AS value;

-- One row per live native party: which account it belongs to, and why.
-- The newest version of each (party, account) decides, here too: a link that was
-- taken back has a newest version that is a deletion.
-- @account_id the account that the party belongs to
-- @native_id id of the party, in the words of its system
-- @entity_id id of the party as an account of its own
CREATE OR REPLACE VIEW identity_links AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, rule, linked_at, approximate, name, reference, ignored_references,
    complete, incomplete_reason, version, updated_at, entity_id
FROM
(
    SELECT * FROM canonical_identity_link FINAL
    ORDER BY account_id, entity_id, version DESC
    LIMIT 1 BY account_id, entity_id
)
WHERE NOT deleted;

-- One row per link that was ever published: versions that changed something else
-- (a name) belong to the link they found. Which links were shown for a moment
-- depends on what was known when, so no other run shows quite the same, and the
-- compacted topic cannot tell it again.
-- @account_id the account that the party belonged to
-- @native_id id of the party, in the words of its system
-- @entity_id id of the party as an account of its own
-- @first_version first version of the record that showed the link
-- @last_version last version of the record that showed the link
CREATE OR REPLACE VIEW identity_link_history AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, rule, reference, linked_at, approximate,
    min(version) AS first_version, max(version) AS last_version, entity_id
FROM canonical_identity_link FINAL
WHERE NOT deleted
GROUP BY system, native_id, entity_id, account_id, rule, reference, linked_at, approximate;

-- What a product of any kind is called: a product without a code has its
-- template's, its name is the template's; a service is its product.
-- @code the seller's code, own or inherited
-- @name what it is called, own or inherited
CREATE OR REPLACE VIEW product_names AS
SELECT p.entity_id AS entity_id, p.system AS system, p.native_id AS native_id, p.kind AS kind,
    multiIf(p.kind = 'product', coalesce(nullIf(p.code, ''), o.code),
            p.kind = 'service', coalesce(nullIf(o.code, ''), oo.code, p.code), p.code) AS code,
    multiIf(p.kind = 'product', coalesce(o.name, p.name),
            p.kind = 'service', coalesce(oo.name, o.name, p.name), p.name) AS name,
    p.complete AS complete, p.incomplete_reason AS incomplete_reason, p.version AS version, p.updated_at AS updated_at
FROM (SELECT * FROM canonical_product FINAL) AS p
LEFT JOIN (SELECT entity_id, code, name, of_id FROM canonical_product FINAL) AS o ON o.entity_id = p.of_id
LEFT JOIN (SELECT entity_id, code, name FROM canonical_product FINAL) AS oo ON oo.entity_id = o.of_id;

-- One row per product.
CREATE OR REPLACE VIEW products AS
SELECT system, native_id, code, name, complete, incomplete_reason, version, updated_at, entity_id
FROM product_names
WHERE kind = 'product';

-- One row per opportunity: what sales hopes to close.
-- @account_id id of the customer; NULL where the document names none
CREATE OR REPLACE VIEW opportunities AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, {opportunity}, version, updated_at, entity_id, source_position
FROM canonical_opportunity FINAL;

-- One row per sales order.
-- @account_id id of the customer; NULL where the document names none
CREATE OR REPLACE VIEW orders AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, {order}, version, updated_at, entity_id, source_position
FROM canonical_order FINAL;

-- One row per recurring contract.
-- @account_id id of the customer; NULL where the document names none
CREATE OR REPLACE VIEW subscriptions AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, {subscription}, version, updated_at, entity_id, source_position
FROM canonical_subscription FINAL;

-- One row per sales invoice or credit note.
-- @account_id id of the customer; NULL where the document names none
CREATE OR REPLACE VIEW invoices AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, {invoice}, version, updated_at, entity_id, source_position
FROM canonical_invoice FINAL;

-- One row per link between an invoice and money.
-- @account_id id of the customer; NULL where the document names none
CREATE OR REPLACE VIEW payments AS
SELECT system, native_id, nullIf(account_id, '') AS account_id, {payment}, version, updated_at, entity_id, source_position
FROM canonical_payment FINAL;

-- One row per line of an opportunity.
-- @parent_native_id id of the document, in the words of its system
-- @native_id id of the line row, in the words of its system
-- @product_code code of what is sold, own or inherited
-- @product_id entity_id of the product or service that is sold
-- @quantity how many, in the unit of the source
-- @unit_price price of one, without tax, in currency
-- @account_id id of the customer; NULL where the document names none
-- @version version of the document
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

-- One row per line of an order.
-- @parent_native_id id of the document, in the words of its system
-- @native_id id of the line row, in the words of its system
-- @product_code code of what is sold, own or inherited
-- @product_id entity_id of the product or service that is sold
-- @quantity how many, in the unit of the source
-- @unit_price price of one, without tax, in currency
-- @account_id id of the customer; NULL where the document names none
-- @version version of the document
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

-- One row per line of a subscription.
-- @parent_native_id id of the document, in the words of its system
-- @native_id id of the line row, in the words of its system
-- @product_code code of what is sold, own or inherited
-- @product_id entity_id of the product or service that is sold
-- @quantity how many, in the unit of the source
-- @unit_price price of one, without tax, in currency
-- @account_id id of the customer; NULL where the document names none
-- @version version of the document
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

-- One row per line of an invoice.
-- @parent_native_id id of the document, in the words of its system
-- @native_id id of the line row, in the words of its system
-- @product_code code of what is sold, own or inherited
-- @product_id entity_id of the product or service that is sold
-- @quantity how many, in the unit of the source
-- @unit_price price of one, without tax, in currency
-- @account_id id of the customer; NULL where the document names none
-- @version version of the document
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

-- One row per opportunity and what became of it: where every deal stands.
-- @deal_id entity_id of the opportunity
-- @account_id id of the customer; NULL where the opportunity names none
-- @approximate true: at least one time comes from a snapshot row's columns
-- @approximate_milestones names of the times that come from a snapshot row's columns
CREATE OR REPLACE VIEW deals AS
SELECT entity_id AS deal_id, nullIf(canonical_deal.account_id, '') AS account_id, opportunity_native_id, order_number, subscription_number,
    invoice_number, stage, opened_at, won_at, lost_at, activated_at, invoiced_at, paid_at,
    toBool(notEmpty(canonical_deal.approximate)) AS approximate, canonical_deal.approximate AS approximate_milestones, amount, currency,
    other_order_numbers, other_subscription_numbers, other_invoice_numbers, billed, paid, credited, billing_currency, flags, complete, incomplete_reason,
    version, updated_at, system, native_id, source_position
FROM canonical_deal FINAL;

-- One row per deal and step that it has reached.
-- @step opened, won, activated, invoiced, paid or lost
-- @at commit time of the step, UTC, microseconds
-- @approximate true: the time comes from a snapshot row's columns
CREATE OR REPLACE VIEW facts AS
SELECT deal_id, account_id, fact.1 AS step, assumeNotNull(fact.2) AS at, toBool(has(approximate_milestones, concat(fact.1, '_at'))) AS approximate, version
FROM deals
ARRAY JOIN [('opened', opened_at), ('won', won_at), ('lost', lost_at), ('activated', activated_at), ('invoiced', invoiced_at), ('paid', paid_at)] AS fact
WHERE fact.2 IS NOT NULL;

-- Seconds from one milestone to the next. A pair counts once, as the first of
-- incomplete, approximate, early that holds, else under count; only these are in
-- percentiles and max, which are NULL where count is 0. A deal that waits for its
-- end counts under the day of its start; an invoice that is void is no end.
-- @day UTC day of the end, of what is open the day of the start
-- @metric quote_to_activation (won to activated) or invoice_lag (activated to invoiced)
-- @count pairs that are measured exactly
-- @approximate pairs with an approximate end
-- @early pairs whose end came before their start: billed in advance, activated before it was won
-- @incomplete pairs of deals that are not complete
-- @open deals, not lost, that wait for the end
-- @p50 median, seconds
-- @p90 90th percentile, seconds
-- @p99 99th percentile, seconds
-- @max greatest, seconds
-- @oldest_open_seconds greatest age of an open one, against now, seconds
CREATE OR REPLACE VIEW kpi_daily AS
SELECT day, metric, countIf(how = 'exact') AS count, countIf(how = 'approximate') AS approximate, countIf(how = 'early') AS early,
    countIf(how = 'incomplete') AS incomplete, countIf(how = 'open') AS open,
    if(countIf(how = 'exact') = 0, NULL, quantileExactIf(0.5)(seconds, how = 'exact')) AS p50,
    if(countIf(how = 'exact') = 0, NULL, quantileExactIf(0.9)(seconds, how = 'exact')) AS p90,
    if(countIf(how = 'exact') = 0, NULL, quantileExactIf(0.99)(seconds, how = 'exact')) AS p99,
    if(countIf(how = 'exact') = 0, NULL, maxIf(seconds, how = 'exact')) AS max,
    if(countIf(how = 'open') = 0, NULL, maxIf(age, how = 'open')) AS oldest_open_seconds
FROM
(
    SELECT pair.1 AS metric,
        multiIf(pair.3 IS NULL, 'open', NOT complete, 'incomplete', pair.4, 'approximate', pair.3 < pair.2, 'early', 'exact') AS how,
        toDate(assumeNotNull(coalesce(pair.3, pair.2)), 'UTC') AS day,
        (toUnixTimestamp64Micro(assumeNotNull(pair.3)) - toUnixTimestamp64Micro(assumeNotNull(pair.2))) / 1e6 AS seconds,
        intDiv(toUnixTimestamp64Micro(now64(6, 'UTC')) - toUnixTimestamp64Micro(assumeNotNull(pair.2)), 1000000) AS age
    FROM deals
    ARRAY JOIN [('quote_to_activation', won_at, activated_at, hasAny(approximate_milestones, ['won_at', 'activated_at'])),
                ('invoice_lag', activated_at, if(has(flags, 'void_invoice'), NULL, invoiced_at), hasAny(approximate_milestones, ['activated_at', 'invoiced_at']))] AS pair
    WHERE pair.2 IS NOT NULL AND (pair.3 IS NOT NULL OR stage != 'lost')
)
GROUP BY day, metric;

-- One row per source topic, over all hops and partitions.
-- @letters letters that are open
-- @healed letters that are not open any more: a later good image of the row, or an operator, has settled them
CREATE OR REPLACE VIEW feed_health AS
SELECT topic, sum(f.received) AS received, sum(f.repeated) AS repeated, sum(f.stale) AS stale, sum(f.waiting) AS waiting,
    sum(f.letters) - sum(f.healed) AS letters, max(f.last_event_at) AS last_event_at, max(f.last_seen_at) AS last_seen_at,
    sum(f.healed) AS healed, min(f.waiting_since) AS waiting_since, sum(f.unavailable) AS unavailable,
    sum(f.out_of_snapshot) AS out_of_snapshot, sum(f.tombstones) AS tombstones,
    sum(f.swept) AS swept, sum(f.sweep_held) AS sweep_held, sum(f.unplaced) AS unplaced
FROM (SELECT * FROM feeds_raw FINAL) AS f
GROUP BY topic;

-- One row per record that could not be processed.
-- @state open, healed (a later good image of the row), redriven or discarded (an operator)
-- @attempts how often the record could not be taken
CREATE OR REPLACE VIEW letters AS
SELECT topic, partition, offset, timestamp, hop, reason, message, healed, key, value, fingerprint,
    multiIf(l.state != '', l.state, healed, 'healed', 'open') AS state, greatest(l.attempts, 1) AS attempts,
    system, entity, part, row_id, document_id, who, why, instruction
FROM letters_raw AS l FINAL;
