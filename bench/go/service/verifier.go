package main

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	userIssuer   = "user.rpc"
	userAudience = "mall"
	// leeway is by how much the clock of the issuer may differ from ours.
	leeway = 5 * time.Second
)

// verifier tells which user a token was given to.
type verifier struct {
	parser *jwt.Parser
	keys   map[string]crypto.PublicKey
}

// loadVerifier reads the issuer's public keys: dir/public/user.rpc/KID.pem, several while one replaces another.
func loadVerifier(dir string) (*verifier, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "public", userIssuer, "*.pem"))
	if err != nil {
		return nil, err
	}
	keys := make(map[string]crypto.PublicKey, len(paths))
	for _, path := range paths {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		key, err := jwt.ParseEdPublicKeyFromPEM(pem)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys[strings.TrimSuffix(filepath.Base(path), ".pem")] = key
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no public key of %s", dir, userIssuer)
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithIssuer(userIssuer),
		jwt.WithAudience(userAudience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
	)
	return &verifier{parser: parser, keys: keys}, nil
}

// verify answers the id of the user whom the token was given to.
func (v *verifier) verify(token string) (int64, error) {
	var claims jwt.RegisteredClaims
	if _, err := v.parser.ParseWithClaims(token, &claims, v.key); err != nil {
		return 0, err
	}
	id, err := strconv.ParseInt(claims.Subject, 10, 64)
	if err != nil || id < 1 {
		return 0, errors.New("its subject is no user's id")
	}
	return id, nil
}

func (v *verifier) key(token *jwt.Token) (any, error) {
	kid, _ := token.Header["kid"].(string)
	key, ok := v.keys[kid]
	if !ok {
		return nil, errors.New("its key is unknown")
	}
	return key, nil
}
