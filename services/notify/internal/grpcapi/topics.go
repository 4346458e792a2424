package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

// ownTopic is the topic of that name, when it is the caller's business.
func ownTopic(c rpc.Caller, name string) (partner, id string, err error) {
	partner, id = ownerAndID(name)
	if c.Role == rpc.RolePartner && partner != c.Partner {
		return "", "", alert.ErrTopicNotFound
	}
	return partner, id, nil
}

// CreateTopic implements notifyv1.NotifyServiceServer.
func (s *Server) CreateTopic(ctx context.Context, req *notifyv1.CreateTopicRequest) (*notifyv1.Topic, error) {
	caller := rpc.CallerFrom(ctx)
	owner, err := ownerOf(caller, req.GetParent(), errParent)
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "CreateTopic", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.Topics.CreateTopic(ctx, r, alert.Topic{Partner: owner, ID: req.GetTopicId(), DisplayName: req.GetDisplayName(), CreatedAt: s.cfg.Now()})
	return topicProto(t), err
}

// GetTopic implements notifyv1.NotifyServiceServer.
func (s *Server) GetTopic(ctx context.Context, req *notifyv1.GetTopicRequest) (*notifyv1.Topic, error) {
	partner, id, err := ownTopic(rpc.CallerFrom(ctx), req.GetName())
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.Topics.Topic(ctx, partner, id)
	if err != nil {
		return nil, err
	}
	return topicProto(t), nil
}

// DeleteTopic implements notifyv1.NotifyServiceServer.
func (s *Server) DeleteTopic(ctx context.Context, req *notifyv1.DeleteTopicRequest) (*notifyv1.DeleteTopicResponse, error) {
	caller := rpc.CallerFrom(ctx)
	partner, id, err := ownTopic(caller, req.GetName())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "DeleteTopic", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	return &notifyv1.DeleteTopicResponse{}, s.cfg.Topics.DeleteTopic(ctx, r, partner, id, s.cfg.Now())
}

// ListTopics implements notifyv1.NotifyServiceServer.
func (s *Server) ListTopics(ctx context.Context, req *notifyv1.ListTopicsRequest) (*notifyv1.ListTopicsResponse, error) {
	owner, err := ownerOf(rpc.CallerFrom(ctx), req.GetParent(), errParent)
	if err != nil {
		return nil, err
	}
	list := "topics/" + owner
	after, err := s.pages.cursor(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	topics, err := s.cfg.Topics.Topics(ctx, owner, after, size)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListTopicsResponse{}
	for _, t := range topics {
		out.Topics = append(out.Topics, topicProto(t))
	}
	if len(topics) == size {
		out.NextPageToken = s.pages.next(list, topics[size-1].ID)
	}
	return out, nil
}

// ChangeTopicMembers implements notifyv1.NotifyServiceServer.
func (s *Server) ChangeTopicMembers(ctx context.Context, req *notifyv1.ChangeTopicMembersRequest) (*notifyv1.Topic, error) {
	caller := rpc.CallerFrom(ctx)
	partner, id, err := ownTopic(caller, req.GetTopic())
	if err != nil {
		return nil, err
	}
	if err := alert.CheckMembers(partner, req.GetAdd()); err != nil {
		return nil, err
	}
	r, err := request(caller, "ChangeTopicMembers", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.Topics.ChangeMembers(ctx, r, partner, id, req.GetAdd(), req.GetRemove(), s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return topicProto(t), nil
}

// ListTopicMembers implements notifyv1.NotifyServiceServer.
func (s *Server) ListTopicMembers(ctx context.Context, req *notifyv1.ListTopicMembersRequest) (*notifyv1.ListTopicMembersResponse, error) {
	partner, id, err := ownTopic(rpc.CallerFrom(ctx), req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := s.cfg.Topics.Topic(ctx, partner, id); err != nil {
		return nil, err
	}
	list := "members/" + partner + "/" + id
	after, err := s.pages.cursor(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	members, err := s.cfg.Topics.Members(ctx, partner, id, after, size)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListTopicMembersResponse{Members: members}
	if len(members) == size {
		out.NextPageToken = s.pages.next(list, members[size-1])
	}
	return out, nil
}

func topicName(partner, id string) string {
	if partner == "" {
		return "topics/" + id
	}
	return "partners/" + partner + "/topics/" + id
}

func topicProto(t alert.Topic) *notifyv1.Topic {
	return &notifyv1.Topic{Name: topicName(t.Partner, t.ID), DisplayName: t.DisplayName, MemberCount: t.Members, CreateTime: timestamppb.New(t.CreatedAt)}
}
