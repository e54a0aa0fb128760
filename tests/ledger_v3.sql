-- The tables of schema version 3, as released ledgers have them; {serial} is each database's counting key.
CREATE TABLE smile_batches (
    name TEXT NOT NULL,
    run INTEGER NOT NULL,
    options TEXT NOT NULL,
    lines INTEGER,
    created_at FLOAT NOT NULL,
    next_start FLOAT,
    PRIMARY KEY (name)
);
CREATE TABLE smile_chunks (
    id {serial} NOT NULL,
    batch TEXT NOT NULL,
    token BIGINT NOT NULL,
    holder TEXT,
    lease_until FLOAT,
    due_at FLOAT NOT NULL,
    parks INTEGER NOT NULL,
    planned_at FLOAT NOT NULL,
    done_at FLOAT,
    PRIMARY KEY (id)
);
CREATE INDEX smile_chunks_of_batch ON smile_chunks (batch);
CREATE INDEX smile_chunks_open ON smile_chunks (due_at) WHERE done_at IS NULL;
CREATE TABLE smile_events (
    id {serial} NOT NULL,
    job_id TEXT NOT NULL,
    at FLOAT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    user_id TEXT,
    PRIMARY KEY (id)
);
CREATE TABLE smile_id_info (
    job_id TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (job_id)
);
CREATE TABLE smile_jobs (
    seq {serial} NOT NULL,
    job_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    job_type INTEGER NOT NULL,
    state TEXT NOT NULL,
    digest TEXT,
    reach INTEGER NOT NULL,
    smile_job_id TEXT,
    attempts INTEGER NOT NULL,
    api TEXT,
    product TEXT,
    provider_id TEXT,
    id_digest TEXT,
    batch TEXT,
    row_key TEXT,
    line INTEGER,
    run INTEGER,
    spec TEXT,
    marks TEXT,
    chunk BIGINT,
    decision TEXT,
    final BOOLEAN,
    code TEXT,
    text TEXT,
    confidence FLOAT,
    source TEXT,
    timestamp TEXT,
    actions TEXT,
    error TEXT,
    error_code TEXT,
    error_text TEXT,
    retryable BOOLEAN,
    created_at FLOAT NOT NULL,
    sent_at FLOAT,
    accepted_at FLOAT,
    decided_at FLOAT,
    final_at FLOAT,
    PRIMARY KEY (seq),
    UNIQUE (job_id)
);
CREATE INDEX smile_jobs_of_batch ON smile_jobs (batch, seq);
CREATE INDEX smile_jobs_of_chunk ON smile_jobs (chunk);
CREATE TABLE smile_meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE smile_problems (
    id {serial} NOT NULL,
    batch TEXT NOT NULL,
    run INTEGER NOT NULL,
    line INTEGER NOT NULL,
    why TEXT NOT NULL,
    user_id TEXT,
    PRIMARY KEY (id)
);
