package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"mall.example/bench/gen/productv1"
	"mall.example/bench/gen/userv1"
)

// publicMethods are answered without a token; every other method needs one.
var publicMethods = map[string]bool{
	healthv1.Health_Check_FullMethodName:           true,
	healthv1.Health_List_FullMethodName:            true,
	userv1.UserService_Register_FullMethodName:     true,
	userv1.UserService_Login_FullMethodName:        true,
	productv1.ProductService_Detail_FullMethodName: true,
	productv1.ProductService_List_FullMethodName:   true,
}

type callerKey struct{}

// callerID answers the id of the user whose token came with the call.
func callerID(ctx context.Context) (int64, bool) {
	id, ok := ctx.Value(callerKey{}).(int64)
	return id, ok
}

// authenticate lets calls pass that are public or have a good token, and tells the method whose token it is.
func (v *verifier) authenticate(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	if publicMethods[info.FullMethod] {
		return handler(ctx, request)
	}
	token, ok := bearer(ctx)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "a token is needed: send `authorization: Bearer TOKEN`")
	}
	id, err := v.verify(token)
	if err != nil {
		// More is for the log alone, lest a forger learn what to try next.
		slog.DebugContext(ctx, "token refused", "error", err)
		if errors.Is(err, jwt.ErrTokenExpired) {
			return nil, status.Error(codes.Unauthenticated, "the token has expired")
		}
		return nil, status.Error(codes.Unauthenticated, "the token is not valid")
	}
	return handler(context.WithValue(ctx, callerKey{}, id), request)
}

func bearer(ctx context.Context) (string, bool) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return token, ok && strings.EqualFold(scheme, "bearer")
}

// recoverPanics makes a panic the failure of one call instead of the end of the process.
func recoverPanics(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (response any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			slog.ErrorContext(ctx, "panic", "method", info.FullMethod, "reason", reason, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "internal error")
		}
	}()
	return handler(ctx, request)
}
