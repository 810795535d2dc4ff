"""A trading firm's tables, in the manner of TPC-H, and reports over them, in words of our own.

With each report, the output columns that derive from a customer's name, phone or address: all others are clean.
"""

TRADE = """
    CREATE SCHEMA trade;
    SET search_path = trade;
    CREATE TABLE region (id int PRIMARY KEY, name text);
    CREATE TABLE nation (id int PRIMARY KEY, region int REFERENCES region, name text);
    CREATE TABLE supplier (id int PRIMARY KEY, nation int, name text, address text, phone text, balance numeric,
        remark text);
    CREATE TABLE part (id int PRIMARY KEY, name text, maker text, brand text, kind text, size int, container text,
        price numeric);
    CREATE TABLE supply (part int, supplier int, available int, cost numeric, PRIMARY KEY (part, supplier));
    CREATE TABLE customer (id int PRIMARY KEY, nation int, name text, address text, phone text, balance numeric,
        segment text, remark text);
    CREATE TABLE purchase (id int PRIMARY KEY, customer int, status text, total numeric, placed date, priority text,
        clerk text, ship_priority int, remark text);
    CREATE TABLE line (purchase int, part int, supplier int, number int, quantity numeric, price numeric,
        discount numeric, tax numeric, returned text, status text, shipped date, committed date, received date,
        instruction text, mode text, PRIMARY KEY (purchase, number));
"""
MASKED = ("trade.customer.name", "trade.customer.phone", "trade.customer.address")

_SUPPLIERS = "SELECT supplier AS who, sum(price * (1 - discount)) AS earned FROM line GROUP BY supplier"
REPORTS: dict[str, tuple[str, set[str]]] = {
    "lines by status": (
        "SELECT returned, status, sum(quantity) AS q, sum(price * (1 - discount) * (1 + tax)) AS charge,"
        " avg(quantity) AS average, count(*) AS n FROM line WHERE shipped <= date '1998-12-01' - interval '90 days'"
        " GROUP BY returned, status ORDER BY returned, status",
        set(),
    ),
    "cheapest supplier": (
        "SELECT s.balance, s.name, n.name AS nation, p.id, p.maker, s.address, s.phone, s.remark FROM part p,"
        " supplier s, supply u, nation n, region r WHERE p.id = u.part AND s.id = u.supplier AND p.kind LIKE '%BRASS'"
        " AND s.nation = n.id AND n.region = r.id AND u.cost = (SELECT min(u2.cost) FROM supply u2, supplier s2"
        " WHERE p.id = u2.part AND s2.id = u2.supplier) ORDER BY s.balance DESC, n.name, s.name LIMIT 100",
        set(),
    ),
    "unshipped orders": (
        "SELECT l.purchase, sum(l.price * (1 - l.discount)) AS revenue, o.placed, o.ship_priority FROM customer c,"
        " purchase o, line l WHERE c.segment = 'BUILDING' AND c.id = o.customer AND l.purchase = o.id"
        " AND o.placed < '1995-03-15' GROUP BY l.purchase, o.placed, o.ship_priority ORDER BY revenue DESC LIMIT 10",
        set(),
    ),
    "late orders by priority": (
        "SELECT priority, count(*) AS n FROM purchase WHERE EXISTS (SELECT * FROM line WHERE purchase = id"
        " AND committed < received) GROUP BY priority ORDER BY priority",
        set(),
    ),
    "local suppliers": (
        "SELECT n.name, sum(l.price * (1 - l.discount)) AS revenue FROM customer c JOIN purchase o ON o.customer = c.id"
        " JOIN line l ON l.purchase = o.id JOIN supplier s ON s.id = l.supplier AND s.nation = c.nation"
        " JOIN nation n ON n.id = s.nation GROUP BY n.name ORDER BY revenue DESC",
        set(),
    ),
    "forecast": (
        "SELECT sum(price * discount) AS revenue FROM line WHERE discount BETWEEN 0.05 AND 0.07 AND quantity < 24",
        set(),
    ),
    "trade between nations": (
        "SELECT a, b, y, sum(volume) AS revenue FROM (SELECT n1.name AS a, n2.name AS b, extract(year FROM l.shipped)"
        " AS y, l.price * (1 - l.discount) AS volume FROM supplier s, line l, purchase o, customer c, nation n1,"
        " nation n2 WHERE s.id = l.supplier AND o.id = l.purchase AND c.id = o.customer AND s.nation = n1.id"
        " AND c.nation = n2.id) shipping GROUP BY a, b, y ORDER BY a, b, y",
        set(),
    ),
    "market share": (
        "SELECT y, sum(CASE WHEN nation = 'BRAZIL' THEN volume ELSE 0 END) / sum(volume) AS share FROM"
        " (SELECT extract(year FROM o.placed) AS y, l.price AS volume, n.name AS nation FROM part p, line l,"
        " purchase o, customer c, nation n WHERE p.id = l.part AND l.purchase = o.id AND o.customer = c.id"
        " AND c.nation = n.id) s GROUP BY y ORDER BY y",
        set(),
    ),
    "profit": (
        "SELECT nation, y, sum(amount) AS profit FROM (SELECT n.name AS nation, extract(year FROM o.placed) AS y,"
        " l.price * (1 - l.discount) - u.cost * l.quantity AS amount FROM part p, supplier s, line l, supply u,"
        " purchase o, nation n WHERE s.id = l.supplier AND u.supplier = l.supplier AND u.part = l.part"
        " AND p.id = l.part AND o.id = l.purchase AND s.nation = n.id AND p.name LIKE '%green%') x"
        " GROUP BY nation, y ORDER BY nation, y DESC",
        set(),
    ),
    "returned items": (
        "SELECT c.id, c.name, sum(l.price * (1 - l.discount)) AS revenue, c.balance, n.name AS nation, c.address,"
        " c.phone, c.remark FROM customer c, purchase o, line l, nation n WHERE c.id = o.customer"
        " AND l.purchase = o.id AND l.returned = 'R' AND c.nation = n.id GROUP BY c.id, c.name, c.balance, c.phone,"
        " n.name, c.address, c.remark ORDER BY revenue DESC LIMIT 20",
        {"name", "address", "phone"},
    ),
    "important stock": (
        "SELECT part, sum(cost * available) AS worth FROM supply, supplier s WHERE supplier = s.id GROUP BY part"
        " HAVING sum(cost * available) > (SELECT sum(cost * available) * 0.0001 FROM supply) ORDER BY worth DESC",
        set(),
    ),
    "shipping modes": (
        "SELECT l.mode, sum(CASE WHEN o.priority IN ('1-URGENT', '2-HIGH') THEN 1 ELSE 0 END) AS high,"
        " sum(CASE WHEN o.priority <> '1-URGENT' THEN 1 ELSE 0 END) AS low FROM purchase o, line l"
        " WHERE o.id = l.purchase GROUP BY l.mode ORDER BY l.mode",
        set(),
    ),
    "how much customers order": (
        "SELECT n, count(*) AS customers FROM (SELECT c.id, count(o.id) FROM customer c LEFT JOIN purchase o"
        " ON c.id = o.customer AND o.remark NOT LIKE '%special%' GROUP BY c.id) AS x (customer, n)"
        " GROUP BY n ORDER BY customers DESC, n DESC",
        set(),
    ),
    "promotion": (
        "SELECT 100.00 * sum(CASE WHEN p.kind LIKE 'PROMO%' THEN l.price ELSE 0 END) / sum(l.price) AS promo"
        " FROM line l, part p WHERE l.part = p.id",
        set(),
    ),
    "best supplier": (
        f"WITH revenue AS ({_SUPPLIERS}) SELECT s.id, s.name, s.address, s.phone, r.earned FROM supplier s, revenue r"
        " WHERE s.id = r.who AND r.earned = (SELECT max(earned) FROM revenue) ORDER BY s.id",
        set(),
    ),
    "suppliers of parts": (
        "SELECT p.brand, p.kind, p.size, count(DISTINCT u.supplier) AS n FROM supply u, part p WHERE p.id = u.part"
        " AND u.supplier NOT IN (SELECT id FROM supplier WHERE remark LIKE '%Complaints%')"
        " GROUP BY p.brand, p.kind, p.size ORDER BY n DESC",
        set(),
    ),
    "small quantities": (
        "SELECT sum(l.price) / 7.0 AS yearly FROM line l, part p WHERE p.id = l.part"
        " AND l.quantity < (SELECT 0.2 * avg(quantity) FROM line WHERE part = p.id)",
        set(),
    ),
    "large orders": (
        "SELECT c.name, c.id, o.id AS purchase, o.placed, o.total, sum(l.quantity) AS q FROM customer c, purchase o,"
        " line l WHERE o.id IN (SELECT purchase FROM line GROUP BY purchase HAVING sum(quantity) > 300)"
        " AND c.id = o.customer AND o.id = l.purchase GROUP BY c.name, c.id, o.id, o.placed, o.total"
        " ORDER BY o.total DESC, o.placed LIMIT 100",
        {"name"},
    ),
    "discounted revenue": (
        "SELECT sum(l.price * (1 - l.discount)) AS revenue FROM line l JOIN part p ON p.id = l.part AND"
        " (p.brand = 'Brand#12' AND l.quantity BETWEEN 1 AND 11 OR p.brand = 'Brand#23' AND l.mode IN ('AIR'))",
        set(),
    ),
    "surplus": (
        "SELECT s.name, s.address FROM supplier s WHERE s.id IN (SELECT u.supplier FROM supply u WHERE u.part IN"
        " (SELECT id FROM part WHERE name LIKE 'forest%') AND u.available > (SELECT 0.5 * sum(quantity) FROM line l"
        " WHERE l.part = u.part AND l.supplier = u.supplier)) ORDER BY s.name",
        set(),
    ),
    "suppliers who kept orders waiting": (
        "SELECT s.name, count(*) AS waits FROM supplier s, line l1, purchase o WHERE s.id = l1.supplier"
        " AND o.id = l1.purchase AND l1.received > l1.committed AND EXISTS (SELECT * FROM line l2"
        " WHERE l2.purchase = l1.purchase AND l2.supplier <> l1.supplier) GROUP BY s.name ORDER BY waits DESC LIMIT 9",
        set(),
    ),
    "customers without orders": (
        "SELECT code, count(*) AS n, sum(balance) AS total FROM (SELECT substring(c.phone FROM 1 FOR 2) AS code,"
        " c.balance FROM customer c WHERE substring(c.phone FROM 1 FOR 2) IN ('13', '31') AND c.balance >"
        " (SELECT avg(balance) FROM customer) AND NOT EXISTS (SELECT * FROM purchase WHERE customer = c.id)) x"
        " GROUP BY code ORDER BY code",
        {"code"},
    ),
    "a payment": (
        "UPDATE customer SET balance = balance - 10 WHERE id = 7 RETURNING id, name, balance, segment",
        {"name"},
    ),
    "a new order": (
        "WITH o AS (INSERT INTO purchase (id, customer, total, placed) SELECT 1, c.id, 0, '2026-01-01' FROM customer c"
        " WHERE c.id = 7 RETURNING id, customer) INSERT INTO line (purchase, number, part, supplier, price)"
        " SELECT o.id, 1, p.id, u.supplier, p.price FROM o, part p JOIN supply u ON u.part = p.id LIMIT 1 RETURNING *",
        set(),
    ),
    "by last name": (
        "SELECT c.id, c.balance, count(*) OVER () AS n FROM customer c WHERE c.name = 'Customer#7' ORDER BY c.name",
        set(),
    ),
    "order status": (
        "SELECT c.balance, c.name AS customer, (SELECT max(o.placed) FROM purchase o WHERE o.customer = c.id) AS last"
        " FROM customer c WHERE c.id = 7",
        {"customer"},
    ),
    "stock level": (
        "SELECT count(DISTINCT u.part) AS low FROM line l JOIN supply u ON u.part = l.part WHERE u.available < 15",
        set(),
    ),
}
