create table accounts (
    id integer primary key autoincrement,
    mobile text not null unique,
    balance integer not null default 0 check (balance >= 0)
) strict;
