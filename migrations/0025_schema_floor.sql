-- Which programs may work with this schema: those whose newest migration has at least this number. A migration that takes away what a release before the
-- previous one still reads or writes raises it; nothing has been taken away yet.
create table schema_floor (
    one bool primary key default true check (one),
    version bigint not null
);
insert into schema_floor (version) values (1);
