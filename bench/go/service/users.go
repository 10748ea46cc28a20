package main

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mall.example/bench/gen/userv1"
)

type users struct {
	userv1.UnimplementedUserServiceServer
	db *pgxpool.Pool
}

const selectUser = `select id, name, gender, mobile from users where id = $1`

// UserInfo answers the caller's own account.
func (s *users) UserInfo(ctx context.Context, _ *userv1.UserInfoRequest) (*userv1.UserInfoResponse, error) {
	id, ok := callerID(ctx)
	if !ok {
		return nil, status.Error(codes.PermissionDenied, "only a user has an account")
	}
	var user userv1.UserInfoResponse
	err := s.db.QueryRow(ctx, selectUser, id).Scan(&user.Id, &user.Name, &user.Gender, &user.Mobile)
	if err != nil {
		return nil, failure(ctx, err, "this account no longer exists")
	}
	return &user, nil
}
