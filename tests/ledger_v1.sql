-- The tables of schema version 1, as the first ledgers have them; {serial} is each database's counting key.
CREATE TABLE smile_batches (
    name TEXT NOT NULL,
    run INTEGER NOT NULL,
    options TEXT NOT NULL,
    lines INTEGER,
    created_at FLOAT NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE smile_events (
    id {serial} NOT NULL,
    job_id TEXT NOT NULL,
    at FLOAT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (id)
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
    batch TEXT,
    row_key TEXT,
    line INTEGER,
    run INTEGER,
    spec TEXT,
    marks TEXT,
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
    PRIMARY KEY (id)
);
