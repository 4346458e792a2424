package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// prepared are the bulk statements that the writing connection of SQLite keeps. They are few: each is a variable of a package.
//
// Preparing takes the connection, which a transaction has for itself. So a statement is only noted when it is run for the
// first time, and prepared before the next transaction begins.
type prepared struct {
	mu     sync.Mutex
	stmts  map[string]*sql.Stmt
	wanted []string
}

// get is the statement, or nil when it is not prepared yet.
func (p *prepared) get(text string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	stmt, ok := p.stmts[text]
	if !ok {
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
		stmt, err := db.PrepareContext(ctx, text) //nolint:sqlclosecheck // close does
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
