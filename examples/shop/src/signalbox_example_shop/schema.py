"""The shop's tables. Money is in integer cents; times are ISO 8601 in UTC; dates are `YYYY-MM-DD`."""

# A file of another version is refused at start rather than misread.
SCHEMA_VERSION = 1

CURRENCY = "EUR"

SCHEMA = """
CREATE TABLE meta (schema_version INTEGER NOT NULL, generated_on TEXT NOT NULL);

CREATE TABLE customers (
    customer_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    language TEXT NOT NULL,
    street TEXT NOT NULL, city TEXT NOT NULL, postcode TEXT NOT NULL, country TEXT NOT NULL,
    since TEXT NOT NULL
);

CREATE TABLE products (
    sku TEXT PRIMARY KEY,
    name TEXT NOT NULL, name_zh TEXT NOT NULL,
    category TEXT NOT NULL,
    description TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    stock INTEGER NOT NULL CHECK (stock >= 0),
    restock_on TEXT
);
CREATE INDEX products_by_category ON products (category, price_cents);
CREATE VIRTUAL TABLE product_index USING fts5 (sku UNINDEXED, terms);

CREATE TABLE orders (
    order_number INTEGER PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers,
    status TEXT NOT NULL CHECK (status IN ('processing', 'shipped', 'delivered', 'cancelled')),
    placed_at TEXT NOT NULL, shipped_at TEXT, delivered_at TEXT, cancelled_at TEXT,
    estimated_delivery_on TEXT NOT NULL,
    carrier TEXT, tracking_number TEXT,
    street TEXT NOT NULL, city TEXT NOT NULL, postcode TEXT NOT NULL, country TEXT NOT NULL,
    shipping_cents INTEGER NOT NULL, total_cents INTEGER NOT NULL
);
CREATE INDEX orders_by_customer ON orders (customer_id, placed_at);

CREATE TABLE order_items (
    order_number INTEGER NOT NULL REFERENCES orders,
    sku TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    unit_price_cents INTEGER NOT NULL,
    PRIMARY KEY (order_number, sku)
) WITHOUT ROWID;

CREATE TABLE returns (
    return_id INTEGER PRIMARY KEY,
    order_number INTEGER NOT NULL REFERENCES orders,
    status TEXT NOT NULL CHECK (status IN ('requested', 'received', 'completed')),
    reason TEXT,
    created_at TEXT NOT NULL,
    send_back_by TEXT NOT NULL
);
CREATE INDEX returns_by_order ON returns (order_number);

CREATE TABLE return_items (
    return_id INTEGER NOT NULL REFERENCES returns,
    sku TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (return_id, sku)
) WITHOUT ROWID;

CREATE TABLE refunds (
    refund_id INTEGER PRIMARY KEY,
    order_number INTEGER NOT NULL REFERENCES orders,
    return_id INTEGER UNIQUE REFERENCES returns,
    status TEXT NOT NULL CHECK (status IN ('pending', 'processing', 'paid')),
    amount_cents INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    paid_at TEXT
);
CREATE INDEX refunds_by_order ON refunds (order_number);

CREATE TABLE faq (
    faq_id TEXT NOT NULL,
    language TEXT NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (faq_id, language)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE faq_index USING fts5 (faq_id UNINDEXED, language UNINDEXED, terms);

CREATE TABLE idempotency (
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (route, key)
) WITHOUT ROWID;
"""
