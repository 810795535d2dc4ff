"""What the demo's database holds, and what its automation does there."""

from __future__ import annotations

from typing import Final

DATABASE: Final = "shop"
SUBJECT: Final = "nightly-report"
GROUP: Final = "automation"
RUN: Final = "demo-1"

CREATE: Final = f"CREATE DATABASE {DATABASE}"

DATA: Final = """
CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    city text NOT NULL
);
INSERT INTO customers VALUES
    (1, 'Ada Okafor', 'ada.okafor@example.com', 'Lagos'),
    (2, 'Bruno Salas', 'bruno@example.net', 'Valparaíso'),
    (3, 'Chiyo Tanaka', 'chiyo.t@example.org', 'Kyoto'),
    (4, 'Dorothea Lind', 'dlind@example.com', 'Uppsala'),
    (5, 'Emre Yıldız', 'emre@example.net', 'İzmir'),
    (6, 'Fatima Zahra', 'fatima@example.org', 'Fès');
CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer integer NOT NULL REFERENCES customers,
    amount numeric(10, 2) NOT NULL,
    status text NOT NULL
);
INSERT INTO orders
    SELECT n, 1 + n % 6, round((n * 37 % 101)::numeric * 1.37, 2), (ARRAY['paid', 'shipped', 'open'])[1 + n % 3]
    FROM generate_series(1, 24) AS n;
"""

POLICY: Final = """\
version: 1
rules:
  - name: keep-orders
    match: ["DELETE public.orders", "TRUNCATE *", "DROP *"]
    who: {groups: [automation]}
    effect: deny
    message: Orders are kept; set their status instead.
masks:
  - name: personal
    columns: [public.customers.email]
    with: partial
"""

SCRIPT: Final = """\
SELECT id, name, email, city FROM customers ORDER BY id LIMIT 4;
UPDATE orders SET status = 'shipped' WHERE status = 'paid' AND amount < 40 RETURNING id, amount;
DELETE FROM orders WHERE customer = 3;
DO $$ BEGIN EXECUTE 'delete' || ' from orders'; END $$;
"""

QUERY: Final = (
    "SELECT sequence, left(statement, 40) AS statement, outcome, rule, masked_values AS masked,"
    " round(duration_us / 1000, 1) AS ms FROM operations ORDER BY session_id, sequence"
)
