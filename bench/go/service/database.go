package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxConnections is as many as a pool of the Rust services has.
const maxConnections = 8

// connect opens a pool and its first connection, so that a wrong URL is an error at start.
func connect(ctx context.Context, url string, traced bool) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = maxConnections
	if traced {
		// One span per statement, as the Rust services have: they have none for taking a connection that is free.
		config.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithDisableAcquireTracer())
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// failure is the status of a query that failed; missing is what to say where there was no row.
func failure(ctx context.Context, err error, missing string) error {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return status.Error(codes.NotFound, missing)
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	default:
		slog.ErrorContext(ctx, "query failed", "error", err)
		return status.Error(codes.Internal, "the database failed")
	}
}
