import type { ProtoNumbers } from '@fairlead/chassis'

/** Written by npx fairlead proto: what a number was given to once keeps it. */
export const userProto = {
  methods: ['Register', 'LogIn', 'Refresh', 'LogOut', 'GetMe', 'ChangeMe', 'ChangePassword', 'GetCredit', 'ReserveCredit', 'ReleaseCredit'],
  messages: {
    RegisterRequest: {
      email: [1, 'string'],
      password: [2, 'string'],
      name: [3, 'string'],
    },
    RegisterResponse: {
      created: [1, 'User'],
    },
    LogInRequest: {
      email: [1, 'string'],
      password: [2, 'string'],
    },
    LogInResponse: {
      created: [1, 'Tokens'],
    },
    RefreshRequest: {
      refresh_token: [1, 'string'],
    },
    RefreshResponse: {
      created: [1, 'Tokens'],
    },
    LogOutRequest: {},
    LogOutResponse: {
      no_content: [1, 'google.protobuf.Empty'],
    },
    GetMeRequest: {},
    GetMeResponse: {
      ok: [1, 'User'],
    },
    ChangeMeRequest: {
      name: [1, 'string'],
    },
    ChangeMeResponse: {
      ok: [1, 'User'],
    },
    ChangePasswordRequest: {
      old_password: [1, 'string'],
      new_password: [2, 'string'],
    },
    ChangePasswordResponse: {
      no_content: [1, 'google.protobuf.Empty'],
    },
    GetCreditRequest: {},
    GetCreditResponse: {
      ok: [1, 'Credit'],
    },
    ReserveCreditRequest: {
      order_id: [1, 'string'],
      user_id: [2, 'string'],
      total: [3, 'Money'],
    },
    ReserveCreditResponse: {
      ok: [1, 'Reservation'],
    },
    ReleaseCreditRequest: {
      order_id: [1, 'string'],
    },
    ReleaseCreditResponse: {
      no_content: [1, 'google.protobuf.Empty'],
    },
    User: {
      id: [1, 'string'],
      email: [2, 'string'],
      name: [3, 'string'],
      created_at: [4, 'google.protobuf.Timestamp'],
    },
    Tokens: {
      access_token: [1, 'string'],
      refresh_token: [2, 'string'],
      token_type: [3, 'string'],
      expires_in: [4, 'int64'],
    },
    Money: {
      amount: [1, 'int64'],
      currency: [2, 'string'],
    },
    Credit: {
      limit: [1, 'Money'],
      reserved: [2, 'Money'],
      available: [3, 'Money'],
    },
    Reservation: {
      order_id: [1, 'string'],
      user_id: [2, 'string'],
      total: [3, 'Money'],
      state: [4, 'string'],
    },
  },
  enums: {},
} as const satisfies ProtoNumbers
