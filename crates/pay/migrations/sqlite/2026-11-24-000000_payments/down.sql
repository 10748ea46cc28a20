drop table outbox;
drop table payments;
