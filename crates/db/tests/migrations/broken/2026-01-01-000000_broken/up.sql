create table accounts (id bigint);
insert into nowhere values (1);
