-- Secrets of the control plane itself. `sealed` is nonce and ciphertext under the key file, bound to table, row and column.

-- Signing keys: one current; previous ones still verify until retired; next is published ahead of its use.
create table signing_key (
    kid text primary key,
    stage text not null check (stage in ('previous', 'current', 'next')),
    public bytea not null,
    sealed bytea not null,
    created timestamptz not null default now()
);
create unique index signing_key_current on signing_key (stage) where stage = 'current';
create unique index signing_key_next on signing_key (stage) where stage = 'next';

-- Other sealed values by name, such as the certificate authority's private key.
create table sealed (
    name text primary key,
    sealed bytea not null,
    created timestamptz not null default now()
);
