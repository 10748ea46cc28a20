// Package tracing sends spans to a collector, in the way OpenTelemetry's own guide sets it up.
package tracing

import (
	"context"
	"fmt"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Off is the sampler with which a process has no OpenTelemetry in its way at all.
const Off = "off"

// Start sets the global tracer provider and propagator up and answers what sends the last spans at the end. The sampler is
// the share of new traces that is kept; a trace that came from a caller follows the caller's choice.
func Start(ctx context.Context, service, endpoint, sampler string) (func(context.Context) error, error) {
	if sampler == Off {
		return func(context.Context) error { return nil }, nil
	}
	ratio, err := strconv.ParseFloat(sampler, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) {
		return nil, fmt.Errorf("the sampler must be %q or a number from 0 to 1, not %q", Off, sampler)
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("make the exporter: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithAttributes(semconv.ServiceName(service)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	provider := trace.NewTracerProvider(
		trace.WithBatcher(exporter),
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(ratio))),
		trace.WithResource(described),
	)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(
		propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	)
	return provider.Shutdown, nil
}
