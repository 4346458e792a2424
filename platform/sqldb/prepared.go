package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// maxPrepared is how many statements are kept prepared, for writing and for reading. A service has some hundred; more are those
// whose text is put together.
const maxPrepared = 512

// prepared are the statements that connections of SQLite keep: to parse one again costs as much as to run it.
//
// Preparing takes a connection, and the writing one is a transaction's own. So a statement is only noted when it is run for the
// first time, and prepared before the next transaction begins.
type prepared struct {
	mu     sync.Mutex
	stmts  map[string]*sql.Stmt
	wanted []string
}

// get is the statement, or nil when it is not prepared yet or is not one to be kept.
func (p *prepared) get(text string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	stmt, ok := p.stmts[text]
	if !ok && len(p.stmts) < maxPrepared && operation(text) != otherOperation {
		if p.stmts == nil {
			p.stmts = map[string]*sql.Stmt{}
		}
		p.stmts[text] = nil
		p.wanted = append(p.wanted, text)
	}
	return stmt
}

// prepare prepares what was noted. What cannot be prepared now is noted again when it is run the next time.
func (p *prepared) prepare(ctx context.Context, db *sql.DB) {
	p.mu.Lock()
	wanted := p.wanted
	p.wanted = nil
	p.mu.Unlock()
	for _, text := range wanted {
		stmt, err := db.PrepareContext(ctx, text)
		p.mu.Lock()
		if err != nil {
			delete(p.stmts, text)
		} else {
			p.stmts[text] = stmt
		}
		p.mu.Unlock()
	}
}

func (p *prepared) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, stmt := range p.stmts {
		if stmt != nil {
			err = errors.Join(err, stmt.Close())
		}
	}
	p.stmts = nil
	return err
}

// reading is the statement for a connection that reads, nil for one that is not kept.
func (db *DB) reading(ctx context.Context, text string) *sql.Stmt {
	if db.dialect != SQLite {
		return nil // pgx keeps them
	}
	stmt := db.preparedReads.get(text)
	if stmt == nil && ctx.Err() == nil {
		db.preparedReads.prepare(ctx, db.reader)
		stmt = db.preparedReads.get(text)
	}
	return stmt
}

// prepared is the statement for the transaction, nil for one that is not kept. The end of the transaction closes it.
func (tx *Tx) prepared(ctx context.Context, text string) *sql.Stmt {
	if tx.db.dialect != SQLite {
		return nil
	}
	stmt := tx.db.prepared.get(text)
	if stmt == nil {
		return nil
	}
	return tx.tx.StmtContext(ctx, stmt)
}
