package grpcapi

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

var keyState = map[keys.State]authv1.KeyState{
	keys.Prepared: authv1.KeyState_KEY_STATE_PREPARED, keys.Active: authv1.KeyState_KEY_STATE_ACTIVE,
	keys.Retiring: authv1.KeyState_KEY_STATE_RETIRING, keys.Tainted: authv1.KeyState_KEY_STATE_TAINTED,
	keys.Destroyed: authv1.KeyState_KEY_STATE_DESTROYED,
}

func masterOr(i keys.Info, err error) (*authv1.MasterKey, error) {
	if err != nil {
		return nil, err
	}
	return &authv1.MasterKey{
		Name: i.Name(), KeyEpoch: uint32(i.Epoch), State: keyState[i.State], Imported: i.Imported,
		CreateTime: timestamppb.New(i.CreatedAt), StateTime: timestamppb.New(i.ChangedAt),
	}, nil
}

func signingOr(i keys.Info, err error) (*authv1.SigningKey, error) {
	if err != nil {
		return nil, err
	}
	return &authv1.SigningKey{
		Name: i.Name(), State: keyState[i.State], CreateTime: timestamppb.New(i.CreatedAt), StateTime: timestamppb.New(i.ChangedAt),
	}, nil
}

// masterParts splits partners/{partner}/masterKeys/{epoch}. An epoch that is too large names no key.
func masterParts(name string) (owner string, epoch int) {
	owner, text, _ := strings.Cut(id(name), "/masterKeys/")
	epoch, _ = strconv.Atoi(text)
	return owner, epoch
}

// ExportMasterKey implements authv1.AuthServiceServer.
func (s *Server) ExportMasterKey(ctx context.Context, in *authv1.ExportMasterKeyRequest) (*authv1.ExportMasterKeyResponse, error) {
	owner := id(in.GetPartner())
	if ownOnly(ctx, owner) != nil {
		return nil, keys.ErrNotFound
	}
	if in.GetWrap() == authv1.KeyWrap_KEY_WRAP_AES_KWP {
		w, err := s.ring.ExportKWP(ctx, owner, int(in.GetKeyEpoch()), in.GetRecipientJwk())
		if err != nil {
			return nil, err
		}
		return &authv1.ExportMasterKeyResponse{AesKwp: &authv1.KwpKey{EphemeralPoint: w.Ephemeral, WrappedKey: w.Key}}, nil
	}
	jwe, err := s.ring.Export(ctx, owner, int(in.GetKeyEpoch()), in.GetRecipientJwk())
	if err != nil {
		return nil, err
	}
	return &authv1.ExportMasterKeyResponse{Jwe: jwe}, nil
}

// CreateMasterKey implements authv1.AuthServiceServer.
func (s *Server) CreateMasterKey(ctx context.Context, in *authv1.CreateMasterKeyRequest) (*authv1.MasterKey, error) {
	req, err := requestOf(ctx, "CreateMasterKey", in)
	if err != nil {
		return nil, err
	}
	return masterOr(s.keys.CreateMaster(ctx, req, id(in.GetParent()), s.now()))
}

// ImportMasterKey implements authv1.AuthServiceServer.
func (s *Server) ImportMasterKey(ctx context.Context, in *authv1.ImportMasterKeyRequest) (*authv1.MasterKey, error) {
	req, err := requestOf(ctx, "ImportMasterKey", in)
	if err != nil {
		return nil, err
	}
	from := keys.Incoming{JWE: in.GetJwe()}
	if w := in.GetAesKwp(); w != nil {
		from.KWP = &keys.Wrapped{Ephemeral: w.GetEphemeralPoint(), Key: w.GetWrappedKey()}
	}
	return masterOr(s.keys.ImportMaster(ctx, req, id(in.GetParent()), from, s.now()))
}

// GetImportKey implements authv1.AuthServiceServer.
func (s *Server) GetImportKey(context.Context, *authv1.GetImportKeyRequest) (*authv1.GetImportKeyResponse, error) {
	jwk, err := s.ring.ImportKey()
	if err != nil {
		return nil, err
	}
	return &authv1.GetImportKeyResponse{PublicJwk: jwk}, nil
}

// ListMasterKeys implements authv1.AuthServiceServer.
func (s *Server) ListMasterKeys(ctx context.Context, in *authv1.ListMasterKeysRequest) (*authv1.ListMasterKeysResponse, error) {
	of := id(in.GetParent())
	if err := ownOnly(ctx, of); err != nil {
		return nil, err
	}
	if _, err := s.reader.Partner(ctx, of); err != nil {
		return nil, err
	}
	all, err := s.ring.List(ctx, keys.Master, of)
	if err != nil {
		return nil, err
	}
	out := &authv1.ListMasterKeysResponse{}
	for _, i := range all {
		m, _ := masterOr(i, nil)
		out.MasterKeys = append(out.MasterKeys, m)
	}
	return out, nil
}

// ActivateMasterKey implements authv1.AuthServiceServer.
func (s *Server) ActivateMasterKey(ctx context.Context, in *authv1.ActivateMasterKeyRequest) (*authv1.MasterKey, error) {
	req, err := requestOf(ctx, "ActivateMasterKey", in)
	if err != nil {
		return nil, err
	}
	owner, epoch := masterParts(in.GetName())
	i, err := s.keys.ActivateMaster(ctx, req, owner, epoch, s.now())
	return masterOr(i, hideKey(err))
}

// TaintMasterKey implements authv1.AuthServiceServer.
func (s *Server) TaintMasterKey(ctx context.Context, in *authv1.TaintMasterKeyRequest) (*authv1.MasterKey, error) {
	req, err := requestOf(ctx, "TaintMasterKey", in)
	if err != nil {
		return nil, err
	}
	owner, epoch := masterParts(in.GetName())
	i, err := s.keys.TaintMaster(ctx, req, owner, epoch, s.now())
	return masterOr(i, hideKey(err))
}

// DestroyMasterKey implements authv1.AuthServiceServer.
func (s *Server) DestroyMasterKey(ctx context.Context, in *authv1.DestroyMasterKeyRequest) (*authv1.MasterKey, error) {
	req, err := requestOf(ctx, "DestroyMasterKey", in)
	if err != nil {
		return nil, err
	}
	owner, epoch := masterParts(in.GetName())
	i, err := s.keys.DestroyMaster(ctx, req, owner, epoch, s.now())
	return masterOr(i, hideKey(err))
}

// hideKey says of a partner that does not exist that its key does not.
func hideKey(err error) error {
	if hidePartner(err) != err { //nolint:errorlint // whether it was replaced
		return keys.ErrNotFound
	}
	return err
}

// ListSigningKeys implements authv1.AuthServiceServer.
func (s *Server) ListSigningKeys(ctx context.Context, _ *authv1.ListSigningKeysRequest) (*authv1.ListSigningKeysResponse, error) {
	all, err := s.ring.List(ctx, keys.Signing, "")
	if err != nil {
		return nil, err
	}
	out := &authv1.ListSigningKeysResponse{}
	for _, i := range all {
		k, _ := signingOr(i, nil)
		out.SigningKeys = append(out.SigningKeys, k)
	}
	return out, nil
}

// RotateSigningKey implements authv1.AuthServiceServer.
func (s *Server) RotateSigningKey(ctx context.Context, in *authv1.RotateSigningKeyRequest) (*authv1.SigningKey, error) {
	req, err := requestOf(ctx, "RotateSigningKey", in)
	if err != nil {
		return nil, err
	}
	return signingOr(s.keys.Rotate(ctx, req, in.GetForce(), s.now()))
}

// TaintSigningKey implements authv1.AuthServiceServer.
func (s *Server) TaintSigningKey(ctx context.Context, in *authv1.TaintSigningKeyRequest) (*authv1.SigningKey, error) {
	req, err := requestOf(ctx, "TaintSigningKey", in)
	if err != nil {
		return nil, err
	}
	return signingOr(s.keys.TaintSigning(ctx, req, id(in.GetName()), s.now()))
}
