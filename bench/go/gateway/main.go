// Command gateway is the user service's REST API: grpc-gateway in front of its gRPC.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"mall.example/bench/gen/userv1"
	"mall.example/bench/tracing"
)

// shutdownTimeout is how long requests and spans that are under way may take to end.
const shutdownTimeout = 10 * time.Second

type options struct {
	listen, upstream, otlp, sampler string
}

func main() {
	var opts options
	flag.StringVar(&opts.listen, "listen", "127.0.0.1:8000", "the `address` to listen on")
	flag.StringVar(&opts.upstream, "upstream", "127.0.0.1:9000", "the `address` of the user service")
	flag.StringVar(&opts.otlp, "otlp", "http://127.0.0.1:4317", "the `URL` of the collector, OTLP over gRPC")
	flag.StringVar(&opts.sampler, "sampler", "1.0", "the `share` of traces that is kept, or off for no tracing")
	flag.Parse()
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

func run(opts options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	flush, err := tracing.Start(ctx, "bench.gateway", opts.otlp, opts.sampler)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		err = errors.Join(err, flush(ctx))
	}()

	traced := opts.sampler != tracing.Off
	dialOptions := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if traced {
		dialOptions = append(dialOptions, grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
	}
	upstream, err := grpc.NewClient(opts.upstream, dialOptions...)
	if err != nil {
		return err
	}
	defer upstream.Close()

	mux := runtime.NewServeMux()
	if err := userv1.RegisterUserServiceHandler(ctx, mux, upstream); err != nil {
		return err
	}
	var handler http.Handler = mux
	if traced {
		handler = otelhttp.NewHandler(mux, "gateway")
	}
	return serve(ctx, handler, opts.listen)
}

// serve answers requests until ctx is done, and then lets those end that are under way.
func serve(ctx context.Context, handler http.Handler, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Println("listening on", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	timeout, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return server.Shutdown(timeout)
}
