package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// webhook gets events as JSON.
type webhook struct{ peer }

// payload is an event as webhooks get it; doc/notifications.md has it. Text says it all again for those who only show texts.
type payload struct {
	Version int    `json:"version"`
	Text    string `json:"text"`
	Event
}

const maxWebhookText = 8 << 10

// Send implements Channel.
func (w webhook) Send(ctx context.Context, e Event) (string, error) {
	body, err := json.Marshal(payload{1, e.text(maxWebhookText), e})
	if err != nil {
		return "", fmt.Errorf("encode the event: %w", err)
	}
	answer, _, err := w.exchange(ctx, http.MethodPost, w.url, body)
	return w.line(string(answer)), err
}
