drop table reservations;
drop table products;
