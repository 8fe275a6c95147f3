-- What every view must show of the recorded company, from its final rows alone.
-- Written from the definitions in ARCHITECTURE.md. The tables scratch.<system>_<table>
-- hold the text of every column. Entities are named "<system>/<entity>/<native id>";
-- the caller turns names into ids and adds the times, which final rows do not have;
-- scratch.born tells since when the header rows of documents are there.
-- standing is 0 for what is in force, 1 for a draft, 2 for what is dead.
-- Statements end with a semicolon at the end of a line. `-- table: x` keeps a
-- result under that name, `-- view: x` returns it; other comments stand before these.

-- table: currencies
SELECT id, code FROM scratch.erp_currency_currency;

-- table: parties
SELECT 'crm' AS system, id, name FROM scratch.crm_party_party
UNION ALL SELECT 'subs', id, name FROM scratch.subs_party_party
UNION ALL SELECT 'erp', id, name FROM scratch.erp_party_party;

-- table: naming
SELECT system, party, min(n) AS master
FROM (
    SELECT 'subs' AS system, party, extract(coalesce(code, ''), '(?i)^\\s*CRM-([0-9]+)\\s*$') AS digits FROM scratch.subs_party_identifier
    UNION ALL SELECT 'erp', party, extract(coalesce(code, ''), '(?i)^\\s*CRM-([0-9]+)\\s*$') FROM scratch.erp_party_identifier
) ARRAY JOIN if(digits = '', [], [toUInt64(digits)]) AS n
WHERE party IS NOT NULL
GROUP BY system, party;

-- table: members
SELECT p.system AS system, p.id AS id, p.name AS name,
    multiIf(p.system = 'crm', 'master', n.master IS NOT NULL, 'reference', 'none') AS rule,
    multiIf(p.system = 'crm', concat('crm/party/', p.id),
            n.master IS NOT NULL, concat('crm/party/', toString(n.master)),
            concat(p.system, '/party/', p.id)) AS account
FROM scratch.parties AS p
LEFT JOIN scratch.naming AS n ON n.system = p.system AND n.party = p.id;

-- view: accounts
SELECT account AS account_id,
    tupleElement(argMin(tuple(name), (transform(system, ['crm', 'erp', 'subs'], [1, 2, 3], 4), toUInt64(id))), 1) AS name,
    if(countIf(system = 'crm') = 0, NULL, toString(minIf(toUInt64(id), system = 'crm'))) AS crm_id,
    if(countIf(system = 'subs') = 0, NULL, toString(minIf(toUInt64(id), system = 'subs'))) AS subs_id,
    if(countIf(system = 'erp') = 0, NULL, toString(minIf(toUInt64(id), system = 'erp'))) AS erp_id,
    arrayStringConcat(arrayMap(x -> toString(x), arraySort(groupArrayIf(toUInt64(assumeNotNull(id)), system = 'crm'))), ',') AS crm_ids,
    arrayStringConcat(arrayMap(x -> toString(x), arraySort(groupArrayIf(toUInt64(assumeNotNull(id)), system = 'subs'))), ',') AS subs_ids,
    arrayStringConcat(arrayMap(x -> toString(x), arraySort(groupArrayIf(toUInt64(assumeNotNull(id)), system = 'erp'))), ',') AS erp_ids,
    'true' AS complete
FROM scratch.members GROUP BY account;

-- view: identity_links
SELECT system, id AS native_id, account AS account_id, rule FROM scratch.members;

-- table: products
SELECT 'crm' AS system, p.id AS id, coalesce(nullIf(p.code, ''), t.code) AS code, t.name AS name
FROM scratch.crm_product_product AS p LEFT JOIN scratch.crm_product_template AS t ON t.id = p.template
UNION ALL
SELECT 'subs', p.id, coalesce(nullIf(p.code, ''), t.code), t.name
FROM scratch.subs_product_product AS p LEFT JOIN scratch.subs_product_template AS t ON t.id = p.template
UNION ALL
SELECT 'erp', p.id, coalesce(nullIf(p.code, ''), t.code), t.name
FROM scratch.erp_product_product AS p LEFT JOIN scratch.erp_product_template AS t ON t.id = p.template;

-- table: services
SELECT s.id AS id, p.code AS code, p.name AS name
FROM scratch.subs_sale_subscription_service AS s
LEFT JOIN scratch.products AS p ON p.system = 'subs' AND p.id = s.product;

-- view: products
SELECT system, id AS native_id, code, name, 'product' AS kind, 'true' AS complete, NULL AS _optional FROM scratch.products
UNION ALL SELECT 'subs', concat('service:', id), code, name, 'service', 'true', 'true' FROM scratch.services
UNION ALL SELECT 'crm', concat('template:', id), code, name, 'template', 'true', 'true' FROM scratch.crm_product_template
UNION ALL SELECT 'subs', concat('template:', id), code, name, 'template', 'true', 'true' FROM scratch.subs_product_template
UNION ALL SELECT 'erp', concat('template:', id), code, name, 'template', 'true', 'true' FROM scratch.erp_product_template;

-- table: opportunities
SELECT o.id AS id, if(o.party IS NULL, NULL, coalesce(m.account, concat('crm/party/', o.party))) AS account,
    concat('crm/opportunity/', o.id) AS deal, o.state AS state,
    multiIf(o.state IN ('won', 'converted'), 'won', o.state IN ('lost', 'cancelled'), 'lost', 'open') AS phase,
    o.number AS number, o.description AS description, toDecimal128(o.amount, 9) AS amount, 'USD' AS currency
FROM scratch.crm_sale_opportunity AS o
LEFT JOIN scratch.members AS m ON m.system = 'crm' AND m.id = o.party;

-- view: opportunities
SELECT 'crm' AS system, id AS native_id, account AS account_id, deal AS deal_id, state, phase, number, description,
    toString(amount) AS amount, currency, 'true' AS complete
FROM scratch.opportunities;

-- table: orders
SELECT s.id AS id, if(s.party IS NULL, NULL, coalesce(m.account, concat('crm/party/', s.party))) AS account,
    if(match(coalesce(s.origin, ''), '^sale\\.opportunity,[0-9]+$'), concat('crm/opportunity/', extract(coalesce(s.origin, ''), '([0-9]+)$')), NULL) AS deal,
    s.state AS state, s.number AS number, toDecimal128(s.untaxed_amount_cache, 9) AS net, toDecimal128(s.tax_amount_cache, 9) AS tax,
    toDecimal128(s.total_amount_cache, 9) AS gross, c.code AS currency, s.sale_date AS order_date,
    multiIf(s.state IN ('draft', 'quotation'), 'draft', s.state IN ('confirmed', 'processing'), 'confirmed', s.state IN ('cancel', 'cancelled'), 'cancelled', s.state) AS phase,
    multiIf(phase = 'draft', 1, phase = 'cancelled', 2, 0) AS standing,
    tuple(standing, toInt64(b.at), toUInt64(s.id)) AS preference
FROM scratch.crm_sale_sale AS s
INNER JOIN scratch.born AS b ON b.of = 'crm.sale_sale' AND b.id = s.id
LEFT JOIN scratch.members AS m ON m.system = 'crm' AND m.id = s.party
LEFT JOIN scratch.currencies AS c ON c.id = s.currency;

-- view: orders
SELECT 'crm' AS system, id AS native_id, account AS account_id, deal AS deal_id, number, state, phase, '' AS flags, 'true' AS complete,
    toString(net) AS net, toString(tax) AS tax, toString(gross) AS gross, currency, order_date
FROM scratch.orders;

-- The deal that an order's number stands for, inside one account.
-- table: ordered
SELECT o.account AS account, o.number AS number, argMin(o.deal, o.preference) AS deal
FROM scratch.orders AS o WHERE o.account IS NOT NULL AND o.number != '' AND o.deal IS NOT NULL
GROUP BY o.account, o.number;

-- table: subscription_lines
SELECT l.id AS id, l.subscription AS parent, v.code AS code,
    toDecimal128(l.quantity, 9) AS quantity, toDecimal128(l.unit_price, 9) AS unit_price
FROM scratch.subs_sale_subscription_line AS l
INNER JOIN scratch.subs_sale_subscription AS s ON s.id = l.subscription
LEFT JOIN scratch.services AS v ON v.id = l.service;

-- table: subscriptions
SELECT s.id AS id, if(s.party IS NULL, NULL, coalesce(m.account, concat('subs/party/', s.party))) AS account,
    s.state AS state,
    multiIf(s.state = 'running', 'active', s.state IN ('closed', 'cancelled'), 'ended', 'draft') AS phase,
    s.number AS number, s.reference AS order_number, s.start_date AS start_date, s.end_date AS end_date,
    coalesce(l.net, toDecimal128(0, 9)) AS monthly_net, c.code AS currency,
    tuple(multiIf(s.state = 'running', 0, s.state IN ('closed', 'cancelled'), 2, 1), toInt64(b.at), toUInt64(s.id)) AS preference
FROM scratch.subs_sale_subscription AS s
INNER JOIN scratch.born AS b ON b.of = 'subs.sale_subscription' AND b.id = s.id
LEFT JOIN scratch.members AS m ON m.system = 'subs' AND m.id = s.party
LEFT JOIN scratch.currencies AS c ON c.id = s.currency
LEFT JOIN (
    SELECT parent, toDecimal128(sum(roundBankers(quantity * unit_price, 2)), 9) AS net FROM scratch.subscription_lines GROUP BY parent
) AS l ON l.parent = s.id;

-- view: subscriptions
SELECT 'subs' AS system, s.id AS native_id, s.account AS account_id, d.deal AS deal_id, s.number AS number, s.state AS state,
    s.phase AS phase, s.order_number AS order_number, s.start_date AS start_date, s.end_date AS end_date,
    toString(s.monthly_net) AS monthly_net, s.currency AS currency, '' AS flags, 'true' AS complete
FROM scratch.subscriptions AS s
LEFT JOIN scratch.ordered AS d ON d.account = s.account AND d.number = s.order_number;

-- table: invoice_lines
SELECT l.id AS id, l.invoice AS parent, p.code AS code, l.origin AS origin,
    toDecimal128(l.quantity, 9) AS quantity, toDecimal128(l.unit_price, 9) AS unit_price
FROM scratch.erp_account_invoice_line AS l
INNER JOIN scratch.erp_account_invoice AS i ON i.id = l.invoice
LEFT JOIN scratch.products AS p ON p.system = 'erp' AND p.id = l.product;

-- table: invoice_heads
SELECT i.id AS id, if(i.party IS NULL, NULL, coalesce(m.account, concat('erp/party/', i.party))) AS account,
    i.state AS state,
    multiIf(i.state = 'posted', 'posted', i.state = 'paid', 'paid', i.state = 'cancelled', 'cancelled', 'draft') AS phase,
    i.number AS number, i.invoice_date AS invoice_date, i.reference AS reference, i.description AS order_number,
    if(coalesce(l.credits, 0) > 0 OR gross < 0, 'credit_note', 'invoice') AS kind,
    coalesce(l.net, toDecimal128(0, 9)) AS net, coalesce(t.tax, toDecimal128(0, 9)) AS tax,
    coalesce(l.net, toDecimal128(0, 9)) + coalesce(t.tax, toDecimal128(0, 9)) AS gross,
    coalesce(l.items, 0) + coalesce(t.items, 0) AS items, c.code AS currency,
    multiIf(i.state IN ('posted', 'paid'), 0, i.state = 'cancelled', 2, 1) AS standing,
    tuple(standing, toInt64(b.at), toUInt64(i.id)) AS preference
FROM scratch.erp_account_invoice AS i
INNER JOIN scratch.born AS b ON b.of = 'erp.account_invoice' AND b.id = i.id
LEFT JOIN scratch.members AS m ON m.system = 'erp' AND m.id = i.party
LEFT JOIN scratch.currencies AS c ON c.id = i.currency
LEFT JOIN (
    SELECT parent, toDecimal128(sum(roundBankers(quantity * unit_price, 2)), 9) AS net, countIf(startsWith(coalesce(origin, ''), 'account.invoice.line,')) AS credits, count() AS items
    FROM scratch.invoice_lines GROUP BY parent
) AS l ON l.parent = i.id
LEFT JOIN (
    SELECT invoice, toDecimal128(sum(toDecimal128(amount, 9)), 9) AS tax, count() AS items FROM scratch.erp_account_invoice_tax GROUP BY invoice
) AS t ON t.invoice = i.id;

-- A journal entry belongs to the party of its lines, the smallest line first.
-- table: entries
SELECT v.id AS id, v.date AS date, coalesce(m.account, concat('erp/party/', l.party)) AS account
FROM scratch.erp_account_move AS v
INNER JOIN (
    SELECT n.move AS move, argMin(n.party, toUInt64(n.id)) AS party FROM scratch.erp_account_move_line AS n WHERE n.party IS NOT NULL GROUP BY n.move
) AS l ON l.move = v.id
LEFT JOIN scratch.members AS m ON m.system = 'erp' AND m.id = l.party;

-- table: booked
SELECT l.id AS line, e.account AS account, e.date AS date, toDecimal128(toDecimal128(l.credit, 9) - toDecimal128(l.debit, 9), 9) AS amount
FROM scratch.erp_account_move_line AS l INNER JOIN scratch.entries AS e ON e.id = l.move;

-- table: payments
SELECT k.id AS id, i.account AS account, i.id AS invoice, i.order_number AS order_number, b.amount AS amount, b.date AS paid_on, i.currency AS currency
FROM scratch.`erp_account_invoice-account_move_line` AS k
INNER JOIN scratch.invoice_heads AS i ON i.id = k.invoice
LEFT JOIN scratch.booked AS b ON b.line = k.line AND b.account = i.account;

-- A payment whose entry line is not known leaves nobody the sum.
-- table: invoices
SELECT i.*, coalesce(p.unknown, 0) = 0 AS complete,
    if(complete, coalesce(p.paid, toDecimal128(0, 9)), NULL) AS paid,
    multiIf(NOT complete, NULL, i.kind = 'credit_note' OR i.standing = 1, toDecimal128(0, 9), i.standing = 2, paid,
            i.items > 0 AND paid > i.gross, paid - i.gross, toDecimal128(0, 9)) AS unapplied,
    arrayStringConcat(arraySort(arrayFilter(x -> x != '', [
        if(i.kind = 'invoice' AND i.standing = 2 AND paid > 0, 'void_paid', ''),
        if(i.kind = 'invoice' AND i.standing = 0 AND unapplied > 0, 'overpaid', ''),
        if(i.kind = 'invoice' AND i.standing = 1 AND coalesce(p.positive, 0) > 0, 'paid_before', ''),
        if(i.kind = 'credit_note' AND i.gross > 0, 'positive_credit', '')])), ',') AS flags
FROM scratch.invoice_heads AS i
LEFT JOIN (
    SELECT invoice, toDecimal128(sum(amount), 9) AS paid, countIf(amount IS NULL) AS unknown, countIf(amount > 0) AS positive FROM scratch.payments GROUP BY invoice
) AS p ON p.invoice = i.id;

-- view: invoices
SELECT 'erp' AS system, i.id AS native_id, i.account AS account_id, d.deal AS deal_id, i.number AS number, i.kind AS kind, i.state AS state, i.phase AS phase,
    i.reference AS reference, i.order_number AS order_number, i.invoice_date AS invoice_date,
    toString(i.net) AS net, toString(i.tax) AS tax, toString(i.gross) AS gross, toString(i.paid) AS paid, toString(i.unapplied) AS unapplied,
    i.currency AS currency, i.flags AS flags, if(i.complete, 'true', 'false') AS complete
FROM scratch.invoices AS i
LEFT JOIN scratch.ordered AS d ON d.account = i.account AND d.number = i.order_number;

-- view: payments
SELECT 'erp' AS system, p.id AS native_id, p.account AS account_id, d.deal AS deal_id, p.invoice AS invoice_native_id,
    toString(p.amount) AS amount, p.paid_on AS paid_on, p.currency AS currency,
    if(i.kind = 'invoice' AND i.standing = 2, 'unapplied', '') AS flags, if(p.amount IS NULL, 'false', 'true') AS complete
FROM scratch.payments AS p
INNER JOIN scratch.invoice_heads AS i ON i.id = p.invoice
LEFT JOIN scratch.ordered AS d ON d.account = p.account AND d.number = p.order_number;

-- view: opportunity_lines
SELECT 'crm' AS system, l.opportunity AS parent_native_id, l.id AS native_id, p.code AS product_code,
    l.quantity AS quantity, NULL AS unit_price
FROM scratch.crm_sale_opportunity_line AS l
INNER JOIN scratch.crm_sale_opportunity AS o ON o.id = l.opportunity
LEFT JOIN scratch.products AS p ON p.system = 'crm' AND p.id = l.product;

-- view: order_lines
SELECT 'crm' AS system, l.sale AS parent_native_id, l.id AS native_id, p.code AS product_code,
    l.quantity AS quantity, l.unit_price AS unit_price
FROM scratch.crm_sale_line AS l
INNER JOIN scratch.crm_sale_sale AS s ON s.id = l.sale
LEFT JOIN scratch.products AS p ON p.system = 'crm' AND p.id = l.product;

-- view: subscription_lines
SELECT 'subs' AS system, parent AS parent_native_id, id AS native_id, code AS product_code,
    toString(quantity) AS quantity, toString(unit_price) AS unit_price
FROM scratch.subscription_lines;

-- view: invoice_lines
SELECT 'erp' AS system, parent AS parent_native_id, id AS native_id, code AS product_code,
    toString(quantity) AS quantity, toString(unit_price) AS unit_price
FROM scratch.invoice_lines;

-- The orders of each deal: those that live count, or all where none does.
-- table: deal_orders
SELECT o.deal AS deal, o.account AS account, s.id AS id, s.number AS number, s.preference AS preference,
    s.standing < 2 OR min(s.standing) OVER (PARTITION BY o.deal) = 2 AS counts
FROM scratch.opportunities AS o
INNER JOIN scratch.orders AS s ON s.deal = o.deal AND s.account = o.account;

-- table: deal_order
SELECT d.deal AS deal, tupleElement(argMin(tuple(d.id, d.number), d.preference) AS best, 1) AS id, tupleElement(best, 2) AS number
FROM scratch.deal_orders AS d GROUP BY d.deal;

-- The numbers through which documents belong to each deal.
-- table: deal_numbers
SELECT d.deal AS deal, d.account AS account, d.number AS number, max(d.counts) AS counts
FROM scratch.deal_orders AS d
INNER JOIN scratch.ordered AS n ON n.account = d.account AND n.number = d.number AND n.deal = d.deal
GROUP BY d.deal, d.account, d.number;

-- table: deal_subscriptions
SELECT d.deal AS deal, s.id AS id, s.number AS number, s.phase AS phase, d.counts AS counts, s.preference AS preference
FROM scratch.deal_numbers AS d
INNER JOIN scratch.subscriptions AS s ON s.order_number = d.number AND s.account = d.account;

-- table: deal_subscription
SELECT d.deal AS deal, tupleElement(argMin(tuple(d.id, d.number, d.phase), d.preference) AS best, 1) AS id,
    tupleElement(best, 2) AS number, tupleElement(best, 3) AS phase
FROM scratch.deal_subscriptions AS d WHERE d.counts GROUP BY d.deal;

-- table: deal_invoices
SELECT d.deal AS deal, d.counts AS counts, i.id AS id, i.number AS number, i.kind AS kind, i.standing AS standing, i.preference AS preference,
    i.gross AS gross, i.paid AS paid, i.items AS items, i.currency AS currency, i.complete AS complete
FROM scratch.deal_numbers AS d
INNER JOIN scratch.invoices AS i ON i.order_number = d.number AND i.account = d.account;

-- table: deal_bill
SELECT d.deal AS deal, tupleElement(argMin(tuple(d.id, d.number, d.standing), d.preference) AS best, 1) AS id, tupleElement(best, 2) AS number, tupleElement(best, 3) AS standing
FROM scratch.deal_invoices AS d WHERE d.counts AND d.kind = 'invoice' GROUP BY d.deal;

-- table: weights
SELECT d.*, d.kind = 'invoice' AND d.standing < 2 AS live, d.kind = 'credit_note' AND d.standing = 0 AS credits,
    if(d.paid IS NULL, NULL, greatest(d.gross - d.paid, toDecimal128(0, 9))) AS open
FROM scratch.deal_invoices AS d WHERE d.counts;

-- table: sums
SELECT d.deal AS deal, countIf(d.live) AS bills, countIf(d.live AND d.standing = 0) AS booked, countIf(d.live AND d.standing = 0 AND d.items > 0) AS ready,
    countIf(d.live AND d.paid > 0) AS partly, countIf(d.live AND d.paid IS NULL) AS unknown, countIf((d.live OR d.credits) AND NOT d.complete) = 0 AS complete,
    toDecimal128(sumIf(d.gross, d.live AND d.standing = 0), 9) AS billed, toDecimal128(sumIf(abs(d.gross), d.credits), 9) AS credited,
    toDecimal128(sumIf(coalesce(d.paid, toDecimal128(0, 9)), d.live), 9) AS paid, toDecimal128(sumIf(coalesce(d.open, toDecimal128(0, 9)), d.live), 9) AS open,
    anyIf(d.currency, d.live OR d.credits) AS currency,
    arrayStringConcat(arraySort(groupArrayIf(assumeNotNull(d.id), d.live)), ',') AS live_ids,
    arrayStringConcat(arraySort(groupArrayIf(assumeNotNull(d.id), d.credits)), ',') AS credit_ids
FROM scratch.weights AS d GROUP BY d.deal;

-- table: weighed
SELECT s.*, s.bills > 0 AND s.ready = s.bills AND s.billed > 0 AND s.credited >= s.billed AS undone,
    s.bills > 0 AND s.ready = s.bills AND s.unknown = 0 AND s.open <= s.credited AS settled
FROM scratch.sums AS s;

-- The numbers of the documents that a deal does not show, those that count first.
-- table: other_orders
SELECT d.deal AS deal, arrayStringConcat(arrayMap(x -> x.2, arraySort(groupArray(tuple(d.preference, assumeNotNull(d.number))))), ',') AS numbers
FROM scratch.deal_orders AS d INNER JOIN scratch.deal_order AS o ON o.deal = d.deal
WHERE d.id != o.id AND d.number != '' GROUP BY d.deal;

-- table: other_subscriptions
SELECT d.deal AS deal, arrayStringConcat(arrayMap(x -> x.3, arraySort(groupArray(tuple(NOT d.counts, d.preference, assumeNotNull(d.number))))), ',') AS numbers
FROM scratch.deal_subscriptions AS d LEFT JOIN scratch.deal_subscription AS o ON o.deal = d.deal
WHERE (o.id IS NULL OR d.id != o.id) AND d.number != '' GROUP BY d.deal;

-- table: other_invoices
SELECT d.deal AS deal, arrayStringConcat(arrayMap(x -> x.3, arraySort(groupArray(tuple(NOT d.counts, d.preference, assumeNotNull(d.number))))), ',') AS numbers
FROM scratch.deal_invoices AS d LEFT JOIN scratch.deal_bill AS o ON o.deal = d.deal
WHERE d.kind = 'invoice' AND (o.id IS NULL OR d.id != o.id) AND d.number != '' GROUP BY d.deal;

-- table: dead_order_billed
SELECT DISTINCT d.deal AS deal FROM scratch.deal_invoices AS d WHERE NOT d.counts AND d.kind = 'invoice' AND d.standing = 0;

-- The flags of a deal's invoices come with its times.
-- table: deal_flags
SELECT d.deal AS deal, arrayStringConcat(arraySort(groupArray(assumeNotNull(d.id))), ',') AS ids
FROM scratch.deal_invoices AS d WHERE d.counts GROUP BY d.deal;

-- view: deals
SELECT o.deal AS deal_id, o.account AS account_id, o.id AS opportunity_native_id,
    s.number AS order_number, u.number AS subscription_number, i.number AS invoice_number,
    coalesce(os.numbers, '') AS other_order_numbers, coalesce(ou.numbers, '') AS other_subscription_numbers, coalesce(oi.numbers, '') AS other_invoice_numbers,
    multiIf(o.phase = 'lost', 'lost',
            b.undone, 'credited',
            b.settled, 'paid',
            b.partly > 0, 'partly_paid',
            b.booked > 0, 'invoiced',
            u.phase = 'active', 'activated',
            o.phase = 'won', 'won',
            'opened') AS stage,
    toString(o.amount) AS amount, o.currency AS currency,
    toString(coalesce(b.billed, 0)) AS billed, if(coalesce(b.unknown, 0) > 0, NULL, toString(coalesce(b.paid, 0))) AS paid, toString(coalesce(b.credited, 0)) AS credited,
    nullIf(b.currency, '') AS billing_currency,
    arrayStringConcat(arrayFilter(x -> x != '', [if(x.deal IS NOT NULL, 'dead_order_billed', ''), if(i.standing = 2, 'void_invoice', '')]), ',') AS flags,
    if(coalesce(b.complete, true), 'true', 'false') AS complete,
    u.id AS _subscription, i.id AS _invoice, b.live_ids AS _bills, if(b.undone, '', b.credit_ids) AS _credits, f.ids AS _invoices
FROM scratch.opportunities AS o
LEFT JOIN scratch.deal_order AS s ON s.deal = o.deal
LEFT JOIN scratch.deal_subscription AS u ON u.deal = o.deal
LEFT JOIN scratch.deal_bill AS i ON i.deal = o.deal
LEFT JOIN scratch.weighed AS b ON b.deal = o.deal
LEFT JOIN scratch.other_orders AS os ON os.deal = o.deal
LEFT JOIN scratch.other_subscriptions AS ou ON ou.deal = o.deal
LEFT JOIN scratch.other_invoices AS oi ON oi.deal = o.deal
LEFT JOIN scratch.dead_order_billed AS x ON x.deal = o.deal
LEFT JOIN scratch.deal_flags AS f ON f.deal = o.deal;
