// Command service serves the user service and the product service over gRPC.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"mall.example/bench/gen/productv1"
	"mall.example/bench/gen/userv1"
	"mall.example/bench/tracing"
)

// shutdownTimeout is how long calls and spans that are under way may take to end.
const shutdownTimeout = 10 * time.Second

type options struct {
	listen, userDatabase, productDatabase, keys, otlp, sampler string
}

func main() {
	var opts options
	flag.StringVar(&opts.listen, "listen", "127.0.0.1:9000", "the `address` to listen on")
	flag.StringVar(&opts.userDatabase, "user-database", "", "the `URL` of the users' database")
	flag.StringVar(&opts.productDatabase, "product-database", "", "the `URL` of the products' database")
	flag.StringVar(&opts.keys, "keys", ".mall/keys", "the `directory` of the keys")
	flag.StringVar(&opts.otlp, "otlp", "http://127.0.0.1:4317", "the `URL` of the collector, OTLP over gRPC")
	flag.StringVar(&opts.sampler, "sampler", "1.0", "the `share` of traces that is kept, or off for no tracing")
	flag.Parse()
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run(opts options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	traced := opts.sampler != tracing.Off
	flush, err := tracing.Start(ctx, "bench.service", opts.otlp, opts.sampler)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		err = errors.Join(err, flush(ctx))
	}()

	verifier, err := loadVerifier(opts.keys)
	if err != nil {
		return err
	}
	userDB, err := connect(ctx, opts.userDatabase, traced)
	if err != nil {
		return fmt.Errorf("user database: %w", err)
	}
	defer userDB.Close()
	productDB, err := connect(ctx, opts.productDatabase, traced)
	if err != nil {
		return fmt.Errorf("product database: %w", err)
	}
	defer productDB.Close()

	serverOptions := []grpc.ServerOption{grpc.ChainUnaryInterceptor(recoverPanics, verifier.authenticate)}
	if traced {
		serverOptions = append(serverOptions, grpc.StatsHandler(otelgrpc.NewServerHandler()))
	}
	server := grpc.NewServer(serverOptions...)
	userv1.RegisterUserServiceServer(server, &users{db: userDB})
	productv1.RegisterProductServiceServer(server, &products{db: productDB})
	healthServer := health.NewServer()
	healthv1.RegisterHealthServer(server, healthServer)
	reflection.Register(server)

	return serve(ctx, server, healthServer, opts.listen)
}

// serve answers calls until ctx is done, and then lets those end that are under way.
func serve(ctx context.Context, server *grpc.Server, healthServer *health.Server, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Println("listening on", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	healthServer.Shutdown()
	timer := time.AfterFunc(shutdownTimeout, server.Stop)
	defer timer.Stop()
	server.GracefulStop()
	return nil
}
