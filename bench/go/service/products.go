package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"mall.example/bench/gen/productv1"
)

type products struct {
	productv1.UnimplementedProductServiceServer
	db *pgxpool.Pool
}

const selectProduct = `select id, name, description, stock, amount, status from products where id = $1`

// Detail answers one product, on sale or not.
func (s *products) Detail(ctx context.Context, request *productv1.DetailRequest) (*productv1.Product, error) {
	if request.GetId() < 1 {
		return nil, status.Error(codes.InvalidArgument, "id: must be greater than 0")
	}
	var product productv1.Product
	err := s.db.QueryRow(ctx, selectProduct, request.GetId()).Scan(
		&product.Id, &product.Name, &product.Desc, &product.Stock, &product.Amount, &product.Status,
	)
	if err != nil {
		return nil, failure(ctx, err, fmt.Sprintf("product %d does not exist", request.GetId()))
	}
	return &product, nil
}
